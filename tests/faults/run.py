#!/usr/bin/env python3
"""Seeded faults: each breaks one rule of SIP in a copy of the sources, and the suite must notice.

    tests/faults/run.py            all of them
    tests/faults/run.py 3 7        these
    tests/faults/run.py --list

A fault is an exact piece of a source file and what stands in its place; `FAULT` in it is true for that fault alone. All are
built into one copy of the tests, which runs once without any (it must pass) and once for each (it must fail). A piece that
is not there exactly once is an error: the list goes with the sources.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREE = ROOT / "target" / "faults"
# Crates of our own: built anew. Those of others are taken from what was built before.
OWN = ("bridgehead", "sip_codec", "sip-codec", "loadtest")
# What each test binary is asked for.
FILTERS = ["sip::", "call::"]
# Seconds: a fault may keep a test from ending.
PATIENCE = 300

FAULTS = [
    ("timer A is capped at T2, as only timer E is",
     "src/sip/transaction/invite_client.rs",
     "calling.interval *= 2;",
     "calling.interval = if FAULT { pace.doubled(calling.interval) } else { calling.interval * 2 };"),
    ("timer E does not double",
     "src/sip/transaction/client.rs",
     "trying.interval = pace.doubled(trying.interval);",
     "trying.interval = if FAULT { trying.interval } else { pace.doubled(trying.interval) };"),
    ("timer D is as short as T4",
     "src/sip/transaction/invite_client.rs",
     "let linger = pace.linger(TIMER_D.max(pace.long()));",
     "let linger = pace.linger(if FAULT { pace.t4 } else { TIMER_D.max(pace.long()) });"),
    ("a refusal that comes again is not acknowledged again",
     "src/sip/transaction/invite_client.rs",
     "Event::Failure => Step::send(Send::Ack),",
     "Event::Failure => if FAULT { Step::NOTHING } else { Step::send(Send::Ack) },"),
    ("a 2xx that comes again is not acknowledged again",
     "src/sip/transaction/table.rs",
     "out.push_back(Output::Send { flow: *flow, data: ack.clone() });",
     "if !FAULT { out.push_back(Output::Send { flow: *flow, data: ack.clone() }); }"),
    ("an INVITE that comes again after the 2xx goes up again",
     "src/sip/transaction/invite_server.rs",
     "(InviteServer::Proceeding, Event::Repeat) => Step::send(Send::Last),",
     "(InviteServer::Accepted, Event::Repeat) if FAULT => Step::up(),\n"
     "            (InviteServer::Proceeding, Event::Repeat) => Step::send(Send::Last),"),
    ("an answer to a non-INVITE is not sent again",
     "src/sip/transaction/server.rs",
     "(Server::Proceeding | Server::Completed, Event::Repeat) => Step::send(Send::Last),",
     "(Server::Proceeding | Server::Completed, Event::Repeat) => if FAULT { Step::NOTHING } else { Step::send(Send::Last) },"),
    ("tags are compared without case",
     "src/sip/leg.rs",
     "*dialog.remote_tag == *remote_tag",
     "(*dialog.remote_tag == *remote_tag || FAULT && dialog.remote_tag.eq_ignore_ascii_case(remote_tag))"),
    ("a dialog is found by its tags, whatever the Call-ID",
     "src/sip/inbound.rs",
     "Some(&*leg.call_id) == message.call_id().ok()",
     "FAULT || Some(&*leg.call_id) == message.call_id().ok()"),
    ("requests are taken out of order",
     "src/sip/dialog.rs",
     "self.remote_seq.is_none_or(|last| cseq >= last)",
     "FAULT || self.remote_seq.is_none_or(|last| cseq >= last)"),
    ("the caller does not turn Record-Route round",
     "src/sip/dialog.rs",
     "self.routes.reverse();",
     "if !FAULT { self.routes.reverse(); }"),
    ("a strict router is taken for a loose one",
     "src/sip/dialog.rs",
     'Some(uri) if !uri.params.has("lr") => {',
     'Some(uri) if !uri.params.has("lr") && !FAULT => {'),
    ("CANCEL goes out before any response",
     "src/sip/uac.rs",
     "if calling.invite.is_some_and(|invite| self.table.is_proceeding(invite)) {",
     "if FAULT || calling.invite.is_some_and(|invite| self.table.is_proceeding(invite)) {"),
    ("the call goes on where the ACK never came",
     "src/sip/uas.rs",
     "self.counters.lost_acks += 1;\n",
     "self.counters.lost_acks += 1;\n        if FAULT { return; }\n"),
    ("the same request over another way is served twice",
     "src/sip/inbound.rs",
     "Seen::Merged => {",
     "Seen::Merged if FAULT => {}\n            Seen::Merged => {"),
    ("answers go to where the request came from, without rport too",
     "src/sip/write.rs",
     "Ok(via) if flow.transport == Transport::Udp && via.rport().is_none() => {",
     "Ok(via) if flow.transport == Transport::Udp && via.rport().is_none() && !FAULT => {"),
    ("Max-Forwards is not counted down",
     "src/call/admit.rs",
     "hops: incoming.hops - 1,",
     "hops: incoming.hops - u8::from(!FAULT),"),
    ("challenges of any realm are answered",
     "src/sip/stack.rs",
     "trunk.digest_realm.as_deref()",
     "trunk.digest_realm.as_deref().filter(|_| !FAULT)"),
    ("reliable provisionals are taken in any order",
     "src/sip/reliable.rs",
     "rseq != dialog.reliable.wrapping_add(1)",
     "rseq != dialog.reliable.wrapping_add(1) && !FAULT"),
    ("after a glare the one who did not begin the call waits as long as the other",
     "src/sip/change.rs",
     "let owner = self.legs.get(key).is_some_and(|leg| leg.outbound);",
     "let owner = FAULT || self.legs.get(key).is_some_and(|leg| leg.outbound);"),
    ("a body beyond any length is believed",
     "src/sip-codec/src/message.rs",
     "text::number(value).filter(|_| !value.is_empty()).map(|n| n as usize)",
     "if FAULT { return value.parse::<u64>().ok().map(|n| n as u16 as usize); }\n"
     "    text::number(value).filter(|_| !value.is_empty()).map(|n| n as usize)"),
    ("control bytes pass in header lines",
     "src/sip-codec/src/index.rs",
     "Some(_) => return Err(Error::HeaderLine),",
     "Some([byte, ..]) if FAULT && !matches!(byte, b'\\r' | b'\\n') => from = at + 1,\n"
     "            Some(_) => return Err(Error::HeaderLine),"),
    ("line breaks reach the wire",
     "src/sip-codec/src/write.rs",
     "self.refused |= has_control(text);",
     "self.refused |= !FAULT && has_control(text);"),
    ("a session that nobody refreshed goes on",
     "src/sip/session_timer.rs",
     "self.counters.expired_sessions += 1;\n",
     "self.counters.expired_sessions += 1;\n            if FAULT { return; }\n"),
    ("strangers are served like trunks",
     "src/sip/inbound.rs",
     "let Some(trunk) = self.trunk_of(&flow) else { return self.on_guest(now, &request) };",
     "let Some(trunk) = self.trunk_of(&flow).or(FAULT.then_some(crate::leg::TrunkId(0))) else { return self.on_guest(now, &request) };"),
]


def grow_tree(faults):
    """Copies the sources and puts all faults in."""
    shutil.rmtree(TREE, ignore_errors=True)
    names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            place = TREE / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)
    wrong = []
    for number, (title, name, old, new) in faults:
        path = TREE / name
        text = path.read_text()
        if text.count(old) != 1:
            wrong.append(f"{number} ({title}): its piece of {name} is there {text.count(old)} times: {old!r}")
            continue
        crate = "crate" if name.startswith("src/sip-codec/") else "sip_codec"
        path.write_text(text.replace(old, new.replace("FAULT", f"{crate}::fault({number})")))
    if wrong:
        sys.exit("\n".join(wrong))
    with open(TREE / "src/sip-codec/src/lib.rs", "a") as lib:
        lib.write("""
/// Whether this fault is the one that is seeded.
pub fn fault(number: u32) -> bool {
    static SEEDED: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *SEEDED.get_or_init(|| std::env::var("FAULT").ok().and_then(|text| text.parse().ok()).unwrap_or(0)) == number
}
""")


def take_crates():
    """Links what was built of other crates into the copy's own folder: in one folder cargo would take its tests for ours."""
    built = ROOT / "target" / "debug"
    for part in (".fingerprint", "build", "deps"):
        for folder, _, names in os.walk(built / part):
            inside = pathlib.Path(folder).relative_to(built)
            for name in names:
                if any(word.startswith((own, f"lib{own}")) for own in OWN for word in (*inside.parts, name)):
                    continue
                place = TREE / "target" / "debug" / inside / name
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(pathlib.Path(folder) / name, place)


def build():
    """Builds the tests of the copy; gives their binaries."""
    command = ["cargo", "test", "--no-run", "--message-format=json", "-p", "sip-codec", "-p", "bridgehead", "--lib",
               "--test", "vectors", "--test", "write", "--test", "mutate"]
    env = dict(os.environ, CARGO_TARGET_DIR=str(TREE / "target"))
    done = subprocess.run(command, cwd=TREE, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the copy with its faults does not build")
    found = []
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message.get("profile", {}).get("test"):
            found.append((message["target"]["name"], message["executable"], message["manifest_path"]))
    return found


def passes(binaries, number):
    """Whether the suite is content with this fault. What it says without any is shown."""
    out = subprocess.DEVNULL if number else None
    env = dict(os.environ, FAULT=str(number), RUST_BACKTRACE="0")
    for name, binary, manifest in binaries:
        filters = FILTERS if name == "bridgehead" else []
        command = [binary, "--quiet", *filters]
        try:
            done = subprocess.run(command, cwd=pathlib.Path(manifest).parent, env=env, timeout=PATIENCE,
                                  stdout=out, stderr=out)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode:
            return False
    return True


def main():
    faults = list(enumerate(FAULTS, 1))
    if "--list" in sys.argv:
        for number, (title, *_) in faults:
            print(f"{number:>3} {title}")
        return
    chosen = [int(word) for word in sys.argv[1:]]
    grow_tree(faults)
    take_crates()
    binaries = build()
    if not passes(binaries, 0):
        sys.exit("without a fault the suite fails")
    survivors = []
    for number, (title, *_) in faults:
        if chosen and number not in chosen:
            continue
        caught = not passes(binaries, number)
        print(f"{'caught' if caught else 'NOT CAUGHT':>10} {number:>3} {title}", flush=True)
        if not caught:
            survivors.append(number)
    shutil.rmtree(TREE, ignore_errors=True)
    if survivors:
        sys.exit(f"not caught: {survivors}")
    print(f"{len(chosen) or len(faults)} faults, each caught")


main()
