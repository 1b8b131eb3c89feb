//! TOML and flags to each room's configuration.
