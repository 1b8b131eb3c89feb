//! Where something was measured: without it no figure means anything.

use super::rtpengine::{self, Rtpengine};
use serde::Serialize;
use std::fs;

/// The machine, and the peers on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    rtpengine: Option<String>,
}

impl Machine {
    /// This one.
    pub fn read() -> Machine {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Machine {
            cpu: model.map_or("unknown".into(), |(_, model)| model.to_owned()),
            cores: info.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            rtpengine: rtpengine::installed().map(|program| Rtpengine::version(&program)),
        }
    }

    /// In a line.
    pub fn line(&self) -> String {
        let peer =
            self.rtpengine.as_ref().map(|version| format!(", rtpengine {version}")).unwrap_or_default();
        format!("{} × {}, Linux {}{peer}", self.cores, self.cpu, self.kernel)
    }
}
