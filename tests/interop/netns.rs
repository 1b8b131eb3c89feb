//! Networks of a test's own: the test runs again as a child in a network namespace of its own, browsers in another one,
//! with links between them. The kernel removes a namespace and its links with the last process in it, so that nothing
//! is left behind however a test ends.

use super::process::Process;
use super::scene::{Scene, until};
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

/// Says to the child that it is one.
const MARK: &str = "BRIDGEHEAD_TEST_IN_NAMESPACE";
/// Where the gateway is, whichever link leads there.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Runs `scenario` in a network that holds nothing but loopback and the gateway's address. `test` is the test's name
/// as cargo writes it.
pub fn alone(test: &str, scenario: impl FnOnce()) {
    if std::env::var(MARK).is_ok_and(|inside| inside == test) {
        run(&["ip", "link", "set", "lo", "up"]);
        run(&["ip", "address", "add", &format!("{GATEWAY}/32"), "dev", "lo"]);
        return scenario();
    }
    let possible = Command::new("unshare").args(["-n", "ip", "link"]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        let why = format!("{test}: no network namespaces here (root and iproute2 are needed): {possible:?}");
        assert!(std::env::var("CI").is_err(), "{why}");
        eprintln!("SKIPPED {why}");
        return;
    }
    let child = Command::new("unshare")
        .arg("-n")
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    println!("{said}{}", String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && said.contains("1 passed"), "{test} failed in its namespace");
}

/// In a network [`alone`]: another address of this machine, by which all else would be reached. Nobody is there.
pub fn plug_in(address: Ipv4Addr) {
    for words in [
        "ip link add plug type veth peer name wall".to_owned(),
        "ip link set wall up".to_owned(),
        format!("ip address add {address}/24 dev plug"),
        "ip link set plug up".to_owned(),
        "ip route add default dev plug".to_owned(),
    ] {
        run(&words.split(' ').collect::<Vec<_>>());
    }
}

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A place elsewhere, with links to here.
pub struct Far {
    holder: Process,
}

impl Far {
    /// One without links.
    pub fn new(scene: &Scene) -> Far {
        // Whoever waits in it keeps it.
        let holder = Process::start(scene, "far", Command::new("unshare").args(["-n", "cat"]));
        let of = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
        until("a namespace of its own", || {
            let far = of(&holder.id().to_string())?;
            (Some(far) != of("self")).then_some(())
        });
        let far = Far { holder };
        far.run("ip link set lo up");
        far
    }

    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-n", program]);
        command
    }

    /// Runs a few words there.
    pub fn run(&self, words: &str) {
        let (program, rest) = words.split_once(' ').unwrap();
        let output = self.command(program).args(rest.split(' ')).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Its address on a link.
    pub fn address(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 9, number, 2)
    }

    /// Makes a link, as a network is joined: an address, a route of its own, and a default route that is taken where
    /// there is no link of a lower number.
    pub fn join(&self, number: u8) {
        let (near, far) = (format!("near{number}"), format!("far{number}"));
        let holder = self.holder.id().to_string();
        run(&["ip", "link", "add", &near, "type", "veth", "peer", "name", &far, "netns", &holder]);
        run(&["ip", "address", "add", &format!("10.9.{number}.1/24"), "dev", &near]);
        run(&["ip", "link", "set", &near, "up"]);
        let own = Far::address(number);
        self.run(&format!("ip address add {own}/24 dev {far}"));
        self.run(&format!("ip link set {far} up"));
        self.run(&format!("ip route add default via 10.9.{number}.1 dev {far} table {number}"));
        self.run(&format!("ip rule add from {own} table {number}"));
        self.run(&format!(
            "ip route add default via 10.9.{number}.1 dev {far} metric {}",
            100 * u32::from(number)
        ));
    }

    /// Waits until sound comes by this link: more packets than checks and signalling are.
    pub fn await_sound(number: u8) {
        // sysfs would show the namespace in which it was mounted.
        let count = || {
            let table = fs::read_to_string("/proc/self/net/dev").unwrap();
            let name = format!("near{number}:");
            let line = table.lines().find_map(|line| line.trim_start().strip_prefix(&name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        until(&format!("sound by link {number}"), || {
            let before = count();
            std::thread::sleep(Duration::from_secs(1));
            (count() > before + 40).then_some(())
        });
    }

    /// Takes a link away, as a network is left.
    pub fn leave(&self, number: u8) {
        self.run(&format!("ip address del {}/24 dev far{number}", Far::address(number)));
        self.run(&format!("ip link set far{number} down"));
    }
}
