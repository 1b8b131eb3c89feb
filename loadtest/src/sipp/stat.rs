//! What SIPp says of itself: `-trace_stat` (a row a second, counters from the start) and `-trace_rtt` (a row a call).

use std::collections::HashMap;

/// Counters of the last row, and how fast calls began.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stat {
    pub(super) created: u64,
    pub(super) successful: u64,
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
    /// Most calls at once, as the rows saw it.
    pub(super) most: u64,
    /// Calls that began in a second, up to the last row before the last call began.
    pub(super) rate: f64,
    /// Calls that failed, by SIPp's reasons.
    pub(super) reasons: Vec<(String, u64)>,
}

impl Stat {
    /// Reads the file of a run that is over. `None` where it has no row of numbers.
    pub(super) fn read(text: &str) -> Option<Stat> {
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next()?.split(';').collect();
        let rows: Vec<HashMap<&str, &str>> =
            lines.map(|line| names.iter().copied().zip(line.split(';')).collect()).collect();
        let count = |row: &HashMap<&str, &str>, name: &str| -> u64 {
            row.get(name).and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let last = rows.last()?;
        let created = count(last, "TotalCallCreated");
        let began = seconds(rows.first()?.get("CurrentTime")?)?;
        let rates = rows.iter().filter_map(|row| {
            let so_far = count(row, "TotalCallCreated");
            let lasted = seconds(row.get("CurrentTime")?)? - began;
            (so_far > 0 && lasted > 0.5).then_some((so_far, so_far as f64 / lasted))
        });
        let rates: Vec<(u64, f64)> = rates.collect();
        // The row in which the last call has begun may be long after that.
        let whole = rates.iter().rfind(|(so_far, _)| *so_far < created).or(rates.first());
        let reasons = names.iter().filter(|name| name.starts_with("Failed") && name.ends_with("(C)"));
        let reasons = reasons.filter(|name| **name != "FailedCall(C)").map(|name| {
            (name.trim_start_matches("Failed").trim_end_matches("(C)").to_owned(), count(last, name))
        });
        Some(Stat {
            created,
            successful: count(last, "SuccessfulCall(C)"),
            failed: count(last, "FailedCall(C)"),
            retransmissions: count(last, "Retransmissions(C)"),
            most: rows.iter().map(|row| count(row, "CurrentCall")).max()?,
            rate: whole.map_or(0.0, |(_, rate)| *rate),
            reasons: reasons.filter(|(_, count)| *count > 0).collect(),
        })
    }
}

/// The time of a cell: a date, a time, and seconds since the epoch, parted by tabs.
fn seconds(cell: &str) -> Option<f64> {
    cell.rsplit('\t').next()?.trim().parse().ok()
}

/// Response times in milliseconds, sorted, of a `-trace_rtt` file.
pub(super) fn response_times(text: &str) -> Vec<f64> {
    let times = text.lines().skip(1).filter_map(|line| line.split(';').nth(1)?.parse().ok());
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The value that this share of them does not exceed.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "CurrentTime;TotalCallCreated;CurrentCall;SuccessfulCall(C);FailedCall(C);FailedMaxUDPRetrans(C);FailedTimeoutOnRecv(C);Retransmissions(C);\n\
        2026-11-22\t13:03:07.0\t1000.0;0;0;0;0;0;0;0;\n\
        2026-11-22\t13:03:08.0\t1001.0;100;40;60;0;0;0;1;\n\
        2026-11-22\t13:03:09.0\t1002.0;190;50;140;0;0;0;2;\n\
        2026-11-22\t13:03:17.0\t1010.0;200;0;197;3;3;0;9;\n";

    #[test]
    fn the_last_row_counts_and_the_rate_is_that_of_the_time_in_which_calls_began() {
        let stat = Stat::read(ROWS).unwrap();
        assert_eq!((stat.created, stat.successful, stat.failed, stat.retransmissions), (200, 197, 3, 9));
        assert_eq!((stat.most, stat.rate), (50, 95.0));
        assert_eq!(stat.reasons, [("MaxUDPRetrans".to_owned(), 3)]);
        assert_eq!(Stat::read("CurrentTime;x;\n"), None);
    }

    #[test]
    fn response_times_are_sorted() {
        let times = response_times("Date_ms;response_time_ms;rtd_no\n64.001;16;1\n96.001;8;1\n97;9;1\n");
        assert_eq!(times, [8.0, 9.0, 16.0]);
        assert_eq!(
            (quantile(&times, 0.5), quantile(&times, 0.99), quantile(&[], 0.5)),
            (Some(9.0), Some(16.0), None)
        );
    }
}
