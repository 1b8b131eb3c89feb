//! Traffic that lands on another shard than the one where its state lives.

use crate::message::Read;
use crate::net::Net;

/// Notes what it was that went astray.
pub fn note(net: &mut Net, data: &[u8], again: bool) {
    let Some(read) = Read::parse(data) else { return };
    let state = match (read.method.as_str(), read.is_request(), read.to_tag.is_empty()) {
        (_, false, _) => "wrong_shard_response",
        ("CANCEL", ..) => "wrong_shard_cancel",
        ("INVITE", _, true) if read.cseq > 1 => "wrong_shard_invite_after_refusal",
        ("INVITE", _, true) => {
            if again {
                net.states.reach("wrong_shard_invite_again");
            }
            "wrong_shard_invite"
        }
        (_, _, false) => "wrong_shard_in_dialog",
        _ => return,
    };
    if state == "wrong_shard_response" && read.method == "INVITE" && read.cseq > 1 {
        net.states.reach("wrong_shard_response_after_challenge");
    }
    net.states.reach(state);
}
