//! Whole shards on virtual time, with scripted SIP peers and str0m browsers, over a seeded network that loses, reorders
//! and repeats. `BRIDGEHEAD_SEED=… cargo test --test sim` replays one seed with a trace.

mod browser;
mod calls;
mod gateway;
mod media;
mod message;
mod net;
mod peer;
mod phone;
mod scenario;
mod script;
mod sdp;
mod seeds;
mod socket;
mod states;
mod steering;
mod verdict;
mod wiretap;
mod world;
