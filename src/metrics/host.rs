//! What the system says of the process and of the host's UDP, read out of `/proc`'s texts.

/// Figures of the process and its host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Resident memory in bytes.
    pub memory: u64,
    /// Open file descriptors.
    pub files: u64,
    /// Datagrams that the host lost, by reason.
    pub udp: Vec<(&'static str, u64)>,
}

/// The columns of `/proc/net/snmp` that mean loss, and what we call them.
const LOSSES: [(&str, &str); 4] = [
    ("InErrors", "in_errors"),
    ("RcvbufErrors", "receive_queue_full"),
    ("SndbufErrors", "send_queue_full"),
    ("NoPorts", "no_port"),
];

impl Host {
    /// Reads `/proc/self/status`, `/proc/net/snmp`, and the number of entries in `/proc/self/fd`.
    pub fn parse(status: &str, snmp: &str, files: u64) -> Host {
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        let mut rows = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        let column = |wanted: &str| {
            let mut both = names.split_whitespace().zip(values.split_whitespace());
            both.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok())
        };
        let udp = LOSSES.iter().filter_map(|(name, ours)| Some((*ours, column(name)?))).collect();
        Host { memory: kilobytes.unwrap_or(0) * 1024, files, udp }
    }
}
