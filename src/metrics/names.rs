//! Every metric's name and what it says, in one place. Names are stable.

/// What a metric is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only goes up, from the process's start.
    Counter,
    /// What there is now.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// A metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help }
}

/// Version.
pub const BUILD: Metric = gauge("bridgehead_build_info", "Always 1; its label is the version.");
/// Start.
pub const START: Metric =
    gauge("bridgehead_start_time_seconds", "When the process started, in seconds since 1970.");
/// Drain.
pub const DRAINING: Metric = gauge("bridgehead_draining", "1 while running calls end and no new ones begin.");
/// Shards.
pub const SHARDS: Metric =
    gauge("bridgehead_shards", "Shards that answered for this page, and those that did not.");
/// Memory.
pub const MEMORY: Metric = gauge("bridgehead_memory_bytes", "Resident memory of the process.");
/// File descriptors.
pub const FILES: Metric = gauge("bridgehead_open_files", "Open file descriptors of the process.");
/// Sessions.
pub const SESSIONS: Metric =
    gauge("bridgehead_sessions", "Signed-in browser sessions, those whose connection is lost included.");
/// Registrations.
pub const REGISTRATIONS: Metric =
    gauge("bridgehead_registrations", "Users that are, or try to be, registered at a SIP server.");
/// Phones.
pub const PHONES: Metric = gauge(
    "bridgehead_phones",
    "SIP phones that are registered through the gateway, just lost ones included.",
);
/// Connections.
pub const CONNECTIONS: Metric =
    gauge("bridgehead_connections", "Connections over TCP, of browsers and of SIP.");
/// SIP connections.
pub const SIP_CONNECTIONS: Metric =
    gauge("bridgehead_sip_connections", "SIP connections by transport: tcp, tls, ws, wss.");
/// Handshakes.
pub const HANDSHAKES: Metric = gauge("bridgehead_tls_handshakes", "Connections whose TLS is not up yet.");
/// Calls.
pub const CALLS: Metric = gauge("bridgehead_calls", "Calls by state: preparing, ringing, talking.");
/// Incoming legs.
pub const CALLS_INCOMING: Metric = counter("bridgehead_calls_incoming_total", "Calls that came in.");
/// Answers.
pub const CALLS_ANSWERED: Metric = counter("bridgehead_calls_answered_total", "Calls that were answered.");
/// Ends.
pub const CALLS_ENDED: Metric = counter("bridgehead_calls_ended_total", "Calls that ended, by reason.");
/// Talk time.
pub const TALKED: Metric = counter("bridgehead_talk_seconds_total", "Time that ended calls were answered.");
/// Trunks.
pub const TRUNK_UP: Metric = gauge(
    "bridgehead_trunk_up",
    "1 where the SIP server answered when it was last asked, 0 where not; absent until it is asked.",
);
/// Trunks' servers.
pub const SERVER_UP: Metric = gauge(
    "bridgehead_trunk_server_up",
    "1 where a trunk's server gets calls; 0 where probes found it dead, or it was silent or asked to be left alone.",
);
/// Trunk calls.
pub const TRUNK_CALLS: Metric = counter(
    "bridgehead_trunk_calls_total",
    "Ended calls that went to a SIP server, by whether it answered at all.",
);
/// Packets.
pub const PACKETS: Metric = counter("bridgehead_media_packets_total", "RTP packets forwarded.");
/// Bytes.
pub const OCTETS: Metric = counter("bridgehead_media_payload_bytes_total", "RTP payload bytes forwarded.");
/// Drops.
pub const DROPS: Metric = counter("bridgehead_media_drops_total", "RTP and RTCP packets dropped, by reason.");
/// Ports.
pub const PORTS: Metric = gauge("bridgehead_rtp_port_pairs", "Pairs of RTP ports: used by calls, and all.");
/// Peers.
pub const PEERS: Metric = gauge("bridgehead_webrtc_transports", "WebRTC transports.");
/// SIP tables.
pub const SIP_TABLE: Metric = gauge("bridgehead_sip_table", "SIP dialogs and transactions that are kept.");
/// Mailboxes.
pub const MAIL: Metric = gauge("bridgehead_mailbox_messages", "Messages on their way between shards.");
/// Shed mail.
pub const MAIL_SHED: Metric =
    counter("bridgehead_mailbox_shed_total", "Messages between shards that found no room.");
/// Kernel drops.
pub const KERNEL_DROPS: Metric = counter(
    "bridgehead_kernel_drops_total",
    "Datagrams that the kernel dropped at our UDP sockets mostly because their queues were full (SO_MEMINFO).",
);
/// The host's drops.
pub const HOST_UDP: Metric = counter(
    "bridgehead_host_udp_errors_total",
    "UDP datagrams that the whole host lost, by reason (/proc/net/snmp).",
);
/// Passes.
pub const PASSES: Metric = Metric {
    name: "bridgehead_loop_pass_seconds",
    kind: Kind::Histogram,
    help: "How long passes of the shards' loops took, waiting not counted.",
};
/// Slow passes.
pub const SLOW: Metric =
    counter("bridgehead_loop_slow_passes_total", "Passes over 5 ms, by what took the largest part.");
/// CPU.
pub const CPU: Metric = counter("bridgehead_cpu_seconds_total", "CPU time of each shard's thread.");
/// Load.
pub const LOAD: Metric = gauge(
    "bridgehead_load_ratio",
    "Share of the last second that each shard was at work; at limits.load it refuses new calls.",
);
/// Rings.
pub const RINGS: Metric = gauge(
    "bridgehead_io_uring_shards",
    "Shards that serve RTP sockets by io_uring: none unless media.io_uring asks for it and the kernel gives it.",
);
/// Traces.
pub const TRACES: Metric = gauge("bridgehead_traces", "Calls whose ladder is kept.");
/// Records lost.
pub const RECORDS_SHED: Metric =
    counter("bridgehead_call_records_shed_total", "Call records that nobody took: log lines are missing.");
/// Everything that the rooms count.
pub const EVENTS: Metric = counter(
    "bridgehead_events_total",
    "Everything that the parts of the gateway count, by part and name; names may change between versions.",
);

/// All metrics, in the order of the page.
pub const ALL: &[Metric] = &[
    BUILD,
    START,
    DRAINING,
    SHARDS,
    MEMORY,
    FILES,
    SESSIONS,
    REGISTRATIONS,
    PHONES,
    CONNECTIONS,
    SIP_CONNECTIONS,
    HANDSHAKES,
    CALLS,
    CALLS_INCOMING,
    CALLS_ANSWERED,
    CALLS_ENDED,
    TALKED,
    TRUNK_UP,
    SERVER_UP,
    TRUNK_CALLS,
    PACKETS,
    OCTETS,
    DROPS,
    PORTS,
    PEERS,
    SIP_TABLE,
    MAIL,
    MAIL_SHED,
    KERNEL_DROPS,
    HOST_UDP,
    PASSES,
    SLOW,
    CPU,
    LOAD,
    RINGS,
    TRACES,
    RECORDS_SHED,
    EVENTS,
];
