//! HTTP/1.1 and WebSocket as pure machines.
//!
//! A [`Connection`] is the server's side of one TCP (or TLS) connection: bytes go in, requests and messages come out,
//! answers go in, bytes come out. It speaks HTTP/1.1 (RFC 9110, RFC 9112) until a request is upgraded, and WebSocket
//! (RFC 6455) from then on. [`Origins`] judges who may use it from another web application's page.
//!
//! One request is worked on at a time; pipelined ones wait in the input, so that answers leave in order.

mod body;
mod config;
mod connection;
mod head;
mod origin;
mod output;
mod response;
mod websocket;

#[cfg(test)]
mod tests;

pub use config::{Config, Counters, MAX_HEADERS};
pub use connection::{Closed, Connection, Error, Event};
pub use head::{Method, Request};
pub use origin::{BadOrigin, Cors, Origins};
pub use response::Response;
