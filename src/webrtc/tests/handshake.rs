//! Handshakes that come to keys: versions, roles, profiles, loss and reordering.

use super::*;
use crate::rtp::Profile;
use crate::webrtc::browser::force_profile;

#[test]
fn keys_agree_in_every_version_and_role() {
    for ours in [Dtls::Auto, Dtls::V12, Dtls::V13] {
        for theirs in [Dtls::Auto, Dtls::V12, Dtls::V13] {
            if ours != theirs && ours != Dtls::Auto && theirs != Dtls::Auto {
                continue;
            }
            for client in [true, false] {
                let mut world = World::new(Config { dtls: ours, ..config() }, theirs, client);
                world.open();
                let keys = world.expect_connected();
                assert_eq!(keys.profile, Profile::AeadAes256Gcm, "the strongest that both have");
                assert_eq!(world.verified, [home(0)], "{ours:?} {theirs:?} {client}");
            }
        }
    }
}

#[test]
fn keys_agree_under_every_profile() {
    for profile in [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm] {
        force_profile(Some(profile));
        let mut world = World::new(config(), Dtls::V12, true);
        world.open();
        assert_eq!(world.expect_connected().profile, profile);
    }
    force_profile(None);
}

#[test]
fn lost_repeated_and_reordered_datagrams_delay_but_never_prevent() {
    for seed in 0..12 {
        for version in [Dtls::V12, Dtls::V13] {
            let mut world = World::new(config(), version, seed % 3 != 0);
            let mut random = Random::from_number(seed);
            world.fate = Box::new(move |_| {
                if random.chance(0.2) {
                    return Vec::new();
                }
                let copies = if random.chance(0.1) { 2 } else { 1 };
                (0..copies).map(|_| random.below(8) as u32).collect()
            });
            world.open();
            let event = world.event_within(Duration::from_secs(15));
            assert!(matches!(event, Some(Event::Connected { .. })), "seed {seed} {version:?}: {event:?}");
        }
    }
}

#[test]
fn dtls_begins_on_a_path_that_was_only_checked() {
    // The far side's USE-CANDIDATE never arrives: the handshake must not wait for it (pitfall 12).
    let mut world = World::new(config(), Dtls::Auto, true);
    world.fate = Box::new(|sent| {
        let nominates = sent.data[0] == 0 && sent.data.windows(4).any(|bytes| bytes == [0, 0x25, 0, 0]);
        if nominates { Vec::new() } else { vec![0] }
    });
    world.browser.rtc().direct_api().set_ice_controlling(true);
    world.open();
    world.run(Duration::from_secs(2));
    assert_eq!(world.verified, [home(0)]);
}
