//! What the process hears: signals from outside, shards that end.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::Sender;
use std::{io, thread};

/// Something that the main thread waits for.
#[derive(Debug)]
pub enum News {
    /// SIGTERM or SIGINT.
    Signal,
    /// A shard's thread ended, as it should or not.
    Ended {
        /// Its number.
        shard: u8,
        /// What went wrong.
        error: Option<String>,
    },
}

/// Tells of SIGTERM and SIGINT from now on.
pub fn listen(news: Sender<News>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let forward = move || {
        for _ in signals.forever() {
            if news.send(News::Signal).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(forward).map(drop)
}
