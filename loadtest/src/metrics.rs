//! The gateway's own figures, from its `/metrics`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Samples by name and labels, as they stand on the page.
#[derive(Clone, Debug, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Asks for the page.
    pub fn fetch(from: SocketAddr) -> io::Result<Metrics> {
        let mut stream = TcpStream::connect_timeout(&from, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {from}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(Metrics::read(&text))
    }

    fn read(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| line.starts_with("bridgehead_"));
        let pairs = lines.filter_map(|line| line.rsplit_once(' '));
        Metrics(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All samples whose name and labels begin so, and by how much each has grown since `before`, where it has.
    pub fn grown(&self, before: &Metrics, start: &str) -> BTreeMap<String, f64> {
        let of = self.0.iter().filter(|(name, _)| name.starts_with(start));
        let grown = of.map(|(name, value)| (name.clone(), value - before.0.get(name).unwrap_or(&0.0)));
        grown.filter(|(_, by)| *by > 0.0).collect()
    }

    /// What the gateway dropped since `before`, by reason: packets of media, and datagrams that its kernel sockets
    /// could not hold.
    pub fn drops(&self, before: &Metrics) -> BTreeMap<String, u64> {
        let mut drops = BTreeMap::new();
        for (name, by) in self.grown(before, "bridgehead_media_drops_total") {
            let reason = name.split('"').nth(1).unwrap_or(&name).to_owned();
            drops.insert(reason, by as u64);
        }
        for (_, by) in self.grown(before, "bridgehead_kernel_drops_total") {
            drops.insert("kernel".to_owned(), by as u64);
        }
        drops
    }

    /// The share of loop passes since `before` that `bound` seconds were enough for is `within`; gives the smallest
    /// such bound of the histogram, over all shards.
    pub fn pass_bound(&self, before: &Metrics, within: f64) -> Option<f64> {
        let mut buckets: BTreeMap<u64, f64> = BTreeMap::new();
        let all: f64 = self.grown(before, "bridgehead_loop_pass_seconds_count").values().sum();
        for (name, by) in self.grown(before, "bridgehead_loop_pass_seconds_bucket") {
            let bound =
                name.split("le=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok());
            if let Some(bound) = bound.filter(|bound| bound.is_finite()) {
                *buckets.entry((bound * 1e9) as u64).or_default() += by;
            }
        }
        buckets.into_iter().find(|(_, by)| *by >= all * within).map(|(bound, _)| bound as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_and_passes_are_what_grew() {
        let before = Metrics::read("bridgehead_media_drops_total{reason=\"replay\"} 2\n# x\n");
        let page = "bridgehead_media_drops_total{reason=\"replay\"} 5\n\
                    bridgehead_media_drops_total{reason=\"late\"} 0\nbridgehead_kernel_drops_total 1\n\
                    bridgehead_loop_pass_seconds_bucket{shard=\"0\",le=\"0.001\"} 98\n\
                    bridgehead_loop_pass_seconds_bucket{shard=\"0\",le=\"0.005\"} 100\n\
                    bridgehead_loop_pass_seconds_bucket{shard=\"0\",le=\"+Inf\"} 100\n\
                    bridgehead_loop_pass_seconds_count{shard=\"0\"} 100\n";
        let after = Metrics::read(page);
        let drops = BTreeMap::from([("kernel".to_owned(), 1), ("replay".to_owned(), 3)]);
        assert_eq!(after.drops(&before), drops);
        assert_eq!(after.pass_bound(&before, 0.98), Some(0.001));
        assert_eq!(after.pass_bound(&before, 0.99), Some(0.005));
    }
}
