//! The contexts against published vectors, against libsrtp's packets, and against the plain reference.

use super::cipher::{Cipher, Cm, Gcm};
use super::kdf::{Label, Master};
use super::*;
use crate::base::{Packet, Random, Set};
use crate::rtp::{Header, Profile};

const PROFILES: [Profile; 3] = [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

fn material(key: &str, salt: &str) -> [u8; 46] {
    let mut material = [0; 46];
    let both = [hex(key), hex(salt)].concat();
    material[..both.len()].copy_from_slice(&both);
    material
}

fn packet(bytes: &[u8]) -> Packet {
    let mut packet = Packet::default();
    assert!(packet.fill(bytes));
    packet
}

fn rtp(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, 111];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0, 0, 0, 9]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const RECEIVER_REPORT: [u8; 12] = [0x80, 201, 0, 2, 0, 0, 0, 7, 1, 2, 3, 4];

fn contexts(profile: Profile) -> (Send, Receive, [u8; 46]) {
    let mut material = [0; 46];
    Random::from_number(9).fill(&mut material);
    (Send::new(profile, &material, 4), Receive::new(profile, &material, 4), material)
}

#[test]
fn the_key_stream_is_that_of_rfc_3711_b_2() {
    let cm =
        Cm::new(array("2b7e151628aed2a6abf7158809cf4f3c"), &[0; 20], &array("f0f1f2f3f4f5f6f7f8f9fafbfcfd"));
    let mut stream = [0; 48];
    cm.crypt(0, 0, &mut stream);
    let expected =
        "e03ead0935c95e80e166b16dd92b4eb4d23513162b02d0f72a43a2fe4a5f97ab41e95b3bb0a2e8dd477901e4fca894c0";
    assert_eq!(stream[..], hex(expected));
}

#[test]
fn the_session_keys_are_those_of_rfc_3711_b_3() {
    let material = material("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
    let master = Master::new(Profile::AesCm128Sha1_80, &material);
    let (mut key, mut salt, mut authentication) = ([0; 16], [0; 14], [0; 94]);
    master.derive(Label::Cipher, false, &mut key);
    master.derive(Label::Salt, false, &mut salt);
    master.derive(Label::Authentication, false, &mut authentication);
    assert_eq!(key[..], hex("c61e7a93744f39ee10734afe3ff7a087"));
    assert_eq!(salt[..], hex("30cbbc08863d8c85d49db34a9ae1"));
    let expected = "cebe321f6ff7716b6fd4ab49af256a156d38baa48f0a0acf3c34e2359e6cdbcee049646c43d9327ad175578ef7227098\
                    6371c10c9a369ac2f94a8c5fbcdddc256d6e919a48b610ef17c2041e474035766b68642c59bbfc2f34db60dbdfb2";
    assert_eq!(authentication[..], hex(expected));
}

#[test]
fn protects_and_unprotects_the_packet_of_libsrtp_s_driver() {
    let material = material("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
    let clear = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let protected = hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
    let mut it = packet(&clear);
    Send::new(Profile::AesCm128Sha1_80, &material, 1).protect(0x1234, &mut it).unwrap();
    assert_eq!(it.bytes(), protected);
    Receive::new(Profile::AesCm128Sha1_80, &material, 1).unprotect(&mut it).unwrap();
    assert_eq!(it.bytes(), clear);
}

const GCM_SALT: &str = "517569642070726f2071756f";

#[test]
fn seals_and_opens_the_packets_of_rfc_7714_sections_16_and_17() {
    let rtp = hex(
        "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
    );
    let rtcp = hex(
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    );
    let sealed = [
        (
            16,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf88338\
             99d7f27beb16a9152cf765ee4390cce",
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb92\
             75bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        ),
        (
            32,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7a\
             a3db36dfffd6b0f9bb7878d7a76c13",
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6f\
             ad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        ),
    ];
    for (length, srtp, srtcp) in sealed {
        let key: Vec<u8> = (0..length).collect();
        let gcm = || Cipher::Gcm(Gcm::new(&key, array(GCM_SALT)));
        let mut send = Send::from_ciphers(gcm(), gcm(), 0x5d4);
        let mut receive = Receive::from_ciphers(gcm(), gcm());
        let mut it = packet(&rtp);
        send.protect(0xf17b, &mut it).unwrap();
        assert_eq!(it.bytes(), hex(srtp));
        receive.unprotect(&mut it).unwrap();
        assert_eq!(it.bytes(), rtp);
        let mut it = packet(&rtcp);
        send.protect_rtcp(&mut it).unwrap();
        assert_eq!(it.bytes(), hex(srtcp));
        receive.unprotect_rtcp(&mut it).unwrap();
        assert_eq!(it.bytes(), rtcp);
    }
}

/// 136 packets that libsrtp made: rollover, extensions, CSRCs, two SSRCs, SRTCP.
#[test]
fn agrees_with_libsrtp_packet_by_packet() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora/srtp/srtp-vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{} is missing", path.display());
        println!("skipped: {} is missing", path.display());
        return;
    };
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names = ["AES128_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"];
    for (profile, name) in PROFILES.into_iter().zip(names) {
        let rows = &vectors["libsrtp_oracle"][name];
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let material = material(&text(&rows["master_key"]), &text(&rows["master_salt"]));
        let mut send = Send::new(profile, &material, 2);
        let mut receive = Receive::new(profile, &material, 2);
        // libsrtp begins to count SRTCP at 1.
        send.protect_rtcp(&mut packet(&RECEIVER_REPORT)).unwrap();
        let rows = rows["packets"].as_array().unwrap();
        assert!(rows.len() > 30);
        for row in rows {
            let (clear, protected) = (hex(&text(&row["plain"])), hex(&text(&row["protected"])));
            let mut it = packet(&clear);
            if row["kind"] == "rtp" {
                let index = row["roc"].as_u64().unwrap() << 16 | row["seq"].as_u64().unwrap();
                send.protect(index, &mut it).unwrap();
                assert_eq!(it.bytes(), protected, "{name} {index}");
                receive.unprotect(&mut it).unwrap();
                assert_eq!(receive.unprotect(&mut packet(&protected)), Err(Refused::Repeated));
            } else {
                send.protect_rtcp(&mut it).unwrap();
                assert_eq!(it.bytes(), protected, "{name} rtcp");
                receive.unprotect_rtcp(&mut it).unwrap();
                assert_eq!(receive.unprotect_rtcp(&mut packet(&protected)), Err(Refused::Repeated));
            }
            assert_eq!(it.bytes(), clear);
        }
    }
}

#[test]
fn agrees_with_the_plain_reference_in_both_directions() {
    for profile in PROFILES {
        let (mut send, mut receive, material) = contexts(profile);
        for n in 0..300_u64 {
            let index = 65_400 + n;
            let clear = rtp(5, index as u16, &vec![n as u8; n as usize]);
            let mut it = packet(&clear);
            send.protect(index, &mut it).unwrap();
            assert_eq!(it.bytes(), reference::protect(profile, &material, index, &clear));
            let roc = (index >> 16) as u32;
            assert_eq!(reference::unprotect(profile, &material, roc, it.bytes()), Some(clear.clone()));
            receive.unprotect(&mut it).unwrap();
            assert_eq!(it.bytes(), clear);
        }
        let mut it = packet(&RECEIVER_REPORT);
        send.protect_rtcp(&mut it).unwrap();
        assert_eq!(reference::unprotect_rtcp(profile, &material, it.bytes()).unwrap(), RECEIVER_REPORT);
    }
}

#[test]
fn a_stream_is_followed_over_the_rollover_in_any_order() {
    for profile in PROFILES {
        let (_, mut receive, material) = contexts(profile);
        for index in [65_530_u64, 65_534, 65_537, 65_535, 65_536, 65_533, 131_070, 131_073, 131_071] {
            // A gap of nearly half the range is still told apart from a packet before.
            if index == 131_070 {
                let bridge = reference::protect(profile, &material, 98_303, &rtp(1, 98_303_u64 as u16, b"x"));
                receive.unprotect(&mut packet(&bridge)).unwrap();
            }
            let protected = reference::protect(profile, &material, index, &rtp(1, index as u16, b"sound"));
            let mut it = packet(&protected);
            assert!(receive.unprotect(&mut it).is_ok(), "{index}");
            assert_eq!(it.bytes(), rtp(1, index as u16, b"sound"));
            assert_eq!(receive.unprotect(&mut packet(&protected)), Err(Refused::Repeated));
        }
        let late = reference::protect(profile, &material, 130_000, &rtp(1, 130_000_u64 as u16, b"x"));
        assert_eq!(receive.unprotect(&mut packet(&late)), Err(Refused::Old));
    }
}

#[test]
fn a_forged_packet_changes_nothing() {
    for profile in PROFILES {
        let (_, mut receive, material) = contexts(profile);
        let of = |index: u64| reference::protect(profile, &material, index, &rtp(1, index as u16, b"sound"));
        receive.unprotect(&mut packet(&of(100))).unwrap();
        // Far ahead, so that believing it would lose the stream; every bit of a packet; many SSRCs.
        for (n, sequence) in [(0, 30_000), (1, 32_000), (2, 101)] {
            let mut forged = of(sequence);
            let last = forged.len() - 1 - n;
            forged[last] ^= 1;
            assert_eq!(receive.unprotect(&mut packet(&forged)), Err(Refused::Forged));
        }
        for bit in 0..of(101).len() * 8 {
            let mut forged = of(101);
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(receive.unprotect(&mut packet(&forged)).is_err(), "{bit}");
        }
        for ssrc in 0..100 {
            assert_eq!(receive.unprotect(&mut packet(&rtp(1000 + ssrc, 1, &[0; 40]))), Err(Refused::Forged));
        }
        receive.unprotect(&mut packet(&of(101))).unwrap();
    }
}

#[test]
fn the_table_of_sources_is_bounded() {
    let (mut send, mut receive, _) = contexts(Profile::AeadAes128Gcm);
    for ssrc in 0..4 {
        let mut it = packet(&rtp(ssrc, 1, b"x"));
        send.protect(1, &mut it).unwrap();
        receive.unprotect(&mut it).unwrap();
    }
    assert_eq!(send.protect(1, &mut packet(&rtp(9, 1, b"x"))), Err(Refused::Full));
    assert_eq!(receive.unprotect(&mut packet(&rtp(9, 1, &[0; 30]))), Err(Refused::Full));
}

#[test]
fn no_index_is_used_twice_by_any_order_of_calls() {
    let (mut send, _, _) = contexts(Profile::AesCm128Sha1_80);
    let mut random = Random::from_number(4);
    let (mut used, mut centre) = (Set::default(), 65_000_u64);
    for _ in 0..50_000 {
        centre += random.below(2);
        let index = centre + random.below(200) - 100;
        let ssrc = random.below(3) as u32;
        let mut it = packet(&rtp(ssrc, 0, b"x"));
        if send.protect(index, &mut it).is_ok() {
            assert!(used.insert((ssrc, index)));
            assert_eq!(Header::parse(it.bytes()).unwrap().sequence, index as u16);
        }
    }
    assert!(used.len() > 10_000);
    assert_eq!(send.protect(1 << 48, &mut packet(&rtp(0, 0, b"x"))), Err(Refused::Exhausted));
}

#[test]
fn srtcp_stops_when_its_indexes_are_used_up() {
    let gcm = || Cipher::Gcm(Gcm::new(&[1; 16], [2; 12]));
    let mut send = Send::from_ciphers(gcm(), gcm(), LAST_RTCP_INDEX);
    assert!(send.protect_rtcp(&mut packet(&RECEIVER_REPORT)).is_ok());
    assert_eq!(send.protect_rtcp(&mut packet(&RECEIVER_REPORT)), Err(Refused::Exhausted));
}

#[test]
fn unencrypted_rtcp_is_refused() {
    for profile in PROFILES {
        let (mut send, mut receive, _) = contexts(profile);
        let mut it = packet(&RECEIVER_REPORT);
        send.protect_rtcp(&mut it).unwrap();
        let word = if profile == Profile::AesCm128Sha1_80 { 12 } else { it.len() - 4 };
        it.bytes_mut()[word] &= 0x7f;
        assert_eq!(receive.unprotect_rtcp(&mut it), Err(Refused::Clear));
    }
}

#[test]
fn any_bytes_of_any_length_are_refused_without_a_panic() {
    let mut random = Random::from_number(5);
    let mut bytes = [0; 200];
    for profile in PROFILES {
        let (mut send, mut receive, _) = contexts(profile);
        for _ in 0..35_000 {
            random.fill(&mut bytes);
            bytes[0] = bytes[0] & 0x3f | 0x80;
            let datagram = &bytes[..random.below(201) as usize];
            assert!(receive.unprotect(&mut packet(datagram)).is_err());
            assert!(receive.unprotect_rtcp(&mut packet(datagram)).is_err());
            let _ = send.protect(random.u64() >> 20, &mut packet(datagram));
            let _ = send.protect_rtcp(&mut packet(datagram));
        }
        let full = rtp(1, 1, &[0; Packet::MAX - 12]);
        send.protect(1 << 47, &mut packet(&full)).unwrap_or_else(|why| assert_eq!(why, Refused::Full));
        for length in 0..60 {
            let cut = &reference::protect(profile, &[0; 46], 1, &rtp(1, 1, &[0; 40]))[..length];
            assert!(receive.unprotect(&mut packet(cut)).is_err());
        }
    }
}
