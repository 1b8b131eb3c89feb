//! Limits and deadlines of a connection, and what it counts.

use crate::base::counters;
use std::time::Duration;

/// Limits and deadlines. The defaults are safe for the open Internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Request line and headers together, in bytes.
    pub max_head: usize,
    /// Body of a request, in bytes.
    pub max_body: usize,
    /// One WebSocket message, and one frame, in bytes.
    pub max_message: usize,
    /// Bytes that wait to be sent before a slow consumer is cut off (beside one response).
    pub max_output: usize,
    /// From the first byte of a request to the end of its headers.
    pub head_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a connection may wait without a request.
    pub idle_timeout: Duration,
    /// How long output may wait without the far side taking a byte of it.
    pub write_timeout: Duration,
    /// How long input is swallowed after a refusal, so that the answer survives (RFC 9112 section 9.6).
    pub linger: Duration,
    /// Between WebSocket pings.
    pub ping_interval: Duration,
    /// From a ping to its pong.
    pub pong_timeout: Duration,
    /// From our Close frame to the far side's.
    pub close_timeout: Duration,
}

/// Headers that a request may have. Not configurable: they are parsed on the stack.
pub const MAX_HEADERS: usize = 64;

impl Default for Config {
    fn default() -> Self {
        Config {
            max_head: 16 * 1024,
            max_body: 64 * 1024,
            max_message: 64 * 1024,
            max_output: 256 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(1),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
        }
    }
}

counters! {
    /// What a connection counted. Sum them with [`Counters::add`].
    pub struct Counters {
        /// Requests that were passed up.
        requests,
        /// Requests that were refused here, for their form or size.
        refused,
        /// Connections that became WebSockets.
        upgrades,
        /// WebSocket messages received.
        texts_in,
        /// WebSocket messages sent.
        texts_out,
        /// WebSockets closed because the far side broke RFC 6455 or sent too much.
        broken_frames,
        /// Connections closed because headers, body, idleness, output or a pong took too long.
        timeouts,
        /// Connections closed because more output waited than is allowed.
        slow_consumers,
        /// Connections closed because more pipelined input waited than is allowed.
        overfed,
        /// Response headers that were left out because they held control characters.
        unsafe_headers,
    }
}
