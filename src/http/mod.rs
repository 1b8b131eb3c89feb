//! HTTP/1.1 and WebSocket as pure machines.
