//! Lists of cores and ranges of ports, as the command line writes them.

use std::fmt;
use std::ops::RangeInclusive;

/// Why a list or range can't be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

/// Cores by number, one shard on each, in the order written: `0-3`, `2,4,6`, `0-1,4-5`. At most 64.
pub fn parse_cores(text: &str) -> Result<Vec<u16>, Unreadable> {
    let bad = || Unreadable(format!("{text:?} is not a list of cores; write it as 0-3 or 2,4,6"));
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) =
            (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
        if first > last || last - first >= 64 {
            return Err(bad());
        }
        cores.extend(first..=last);
    }
    if cores.len() > 64 {
        return Err(Unreadable(format!("{} cores are more than the 64 that a node can have", cores.len())));
    }
    for (n, core) in cores.iter().enumerate() {
        if cores[..n].contains(core) {
            return Err(Unreadable(format!("core {core} is named twice in {text:?}")));
        }
    }
    Ok(cores)
}

/// A range of ports with both ends in it: `16384-32767`.
pub fn parse_ports(text: &str) -> Result<RangeInclusive<u16>, Unreadable> {
    let bad = || Unreadable(format!("{text:?} is not a range of ports; write it as 16384-32767"));
    let (first, last) = text.split_once('-').ok_or_else(bad)?;
    let (first, last): (u16, u16) =
        (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
    if first == 0 || first >= last {
        return Err(bad());
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_of_cores() {
        assert_eq!(parse_cores("2-5").unwrap(), [2, 3, 4, 5]);
        assert_eq!(parse_cores("0, 2,4-5").unwrap(), [0, 2, 4, 5]);
        for bad in ["", "x", "3-1", "1-", "-1", "0-99", "1,1", "0-1,1-2"] {
            assert!(parse_cores(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_ranges_of_ports() {
        assert_eq!(parse_ports("16384-32767").unwrap(), 16384..=32767);
        for bad in ["", "5", "9-1", "0-5", "5-70000", "a-b"] {
            assert!(parse_ports(bad).unwrap_err().to_string().contains("16384-32767"), "{bad}");
        }
    }
}
