//! latching
