//! What comes in: replay check, authentication, decryption, in this order of decisions (RFC 3711 section 3.3).

use super::cipher::{CM_TAG, Cipher, GCM_TAG, same};
use super::kdf::Master;
use super::{ENCRYPTED, LAST_INDEX, Place, RTCP_HEADER, RTCP_INDEX, Refused, Window, ssrc_at};
use crate::base::Packet;
use crate::rtp::{Header, Profile, distance};
use smallvec::SmallVec;

/// The receiving direction of one transport. What every packet needs stands first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Receive {
    streams: SmallVec<[Stream; 2]>,
    rtp: Cipher,
    rtcp: Cipher,
    cap: usize,
}

/// What is kept of one SSRC. It is made by its first authenticated packet only, so that noise fills no table.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
}

/// The index of a packet: that of its sequence number nearest to the highest so far (RFC 3711 section 3.3.1), decided
/// before the packet is touched, since a failed authentication destroys it. A stream begins with rollover counter 0.
#[inline]
fn guess(window: &Window, sequence: u16) -> Option<u64> {
    match window.top() {
        None => Some(u64::from(sequence)),
        Some(top) => top.checked_add_signed(i64::from(distance(top as u16, sequence))),
    }
}

impl Receive {
    /// Bytes from its beginning that a packet touches.
    pub(in crate::media) const HOT: usize = std::mem::offset_of!(Receive, rtcp);

    /// A context from a master key and salt (as `rtp::Keys::receive` has them) for at most `cap` SSRCs.
    pub fn new(profile: Profile, material: &[u8; 46], cap: usize) -> Receive {
        let master = Master::new(profile, material);
        Receive {
            rtp: Cipher::new(profile, &master, false),
            rtcp: Cipher::new(profile, &master, true),
            streams: SmallVec::new(),
            cap,
        }
    }

    #[cfg(test)]
    pub(super) fn from_ciphers(rtp: Cipher, rtcp: Cipher) -> Receive {
        Receive { rtp, rtcp, streams: SmallVec::new(), cap: 4 }
    }

    /// The place of a stream that is known, or the place that a new one would have.
    #[inline]
    fn place(&self, ssrc: u32) -> Result<usize, Refused> {
        match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(place) => Ok(place),
            None if self.streams.len() < self.cap => Ok(self.streams.len()),
            None => Err(Refused::Full),
        }
    }

    #[inline]
    fn commit(&mut self, place: usize, ssrc: u32) -> &mut Stream {
        if place == self.streams.len() {
            self.streams.push(Stream { ssrc, ..Stream::default() });
        }
        &mut self.streams[place]
    }

    /// Makes an SRTP packet the RTP packet that it protects. After a refusal its bytes are worthless.
    #[inline]
    pub fn unprotect(&mut self, packet: &mut Packet) -> Result<Header, Refused> {
        let header = Header::parse(packet.bytes()).ok_or(Refused::Malformed)?;
        let place = self.place(header.ssrc)?;
        let window = self.streams.get(place).map_or(Window::default(), |stream| stream.rtp);
        let index = guess(&window, header.sequence).ok_or(Refused::Old)?;
        free(&window, index)?;
        if index > LAST_INDEX {
            return Err(Refused::Exhausted);
        }
        let length = packet.len();
        let bytes = packet.bytes_mut();
        let clear = match &self.rtp {
            Cipher::Cm(cm) => {
                let clear = length.checked_sub(CM_TAG).filter(|clear| *clear >= header.length);
                let clear = clear.ok_or(Refused::Malformed)?;
                let found: [u8; CM_TAG] = *bytes[clear..].first_chunk().ok_or(Refused::Malformed)?;
                // The rollover counter is authenticated but not sent: it takes the tag's place meanwhile.
                bytes[clear..clear + 4].copy_from_slice(&((index >> 16) as u32).to_be_bytes());
                if !same(&cm.tag(&bytes[..clear + 4]), &found) {
                    return Err(Refused::Forged);
                }
                cm.crypt(header.ssrc, index, &mut bytes[header.length..clear]);
                clear
            }
            Cipher::Gcm(gcm) => {
                let clear = length.checked_sub(GCM_TAG).filter(|clear| *clear >= header.length);
                let clear = clear.ok_or(Refused::Malformed)?;
                let (aad, data) = bytes.split_at_mut(header.length);
                if !gcm.open(header.ssrc, index, aad, data) {
                    return Err(Refused::Forged);
                }
                clear
            }
        };
        packet.truncate(clear);
        self.commit(place, header.ssrc).rtp.mark(index);
        Ok(header)
    }

    /// Makes an SRTCP packet the RTCP packet that it protects. After a refusal its bytes are worthless.
    pub fn unprotect_rtcp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let length = packet.len();
        let (gcm, tail) = match &self.rtcp {
            Cipher::Cm(_) => (false, RTCP_INDEX + CM_TAG),
            Cipher::Gcm(_) => (true, RTCP_INDEX + GCM_TAG),
        };
        let clear = length.checked_sub(tail).filter(|clear| *clear >= RTCP_HEADER);
        let clear = clear.ok_or(Refused::Malformed)?;
        let bytes = packet.bytes_mut();
        let ssrc = ssrc_at(bytes, 4).ok_or(Refused::Malformed)?;
        // The index stands before the tag of AES-CM and behind that of GCM.
        let word = ssrc_at(bytes, if gcm { length - RTCP_INDEX } else { clear }).ok_or(Refused::Malformed)?;
        if word & ENCRYPTED == 0 {
            return Err(Refused::Clear);
        }
        let index = u64::from(word & !ENCRYPTED);
        let place = self.place(ssrc)?;
        free(&self.streams.get(place).map_or(Window::default(), |stream| stream.rtcp), index)?;
        match &self.rtcp {
            Cipher::Cm(cm) => {
                let (message, tag) = bytes.split_at_mut(clear + RTCP_INDEX);
                let found: &[u8; CM_TAG] = tag.first_chunk().ok_or(Refused::Malformed)?;
                if !same(&cm.tag(message), found) {
                    return Err(Refused::Forged);
                }
                cm.crypt(ssrc, index, &mut message[RTCP_HEADER..clear]);
            }
            Cipher::Gcm(gcm) => {
                let (head, data) = bytes[..length - RTCP_INDEX].split_at_mut(RTCP_HEADER);
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                aad[..RTCP_HEADER].copy_from_slice(head);
                aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
                if !gcm.open(ssrc, index, &aad, data) {
                    return Err(Refused::Forged);
                }
            }
        }
        packet.truncate(clear);
        self.commit(place, ssrc).rtcp.mark(index);
        Ok(())
    }
}

#[inline]
fn free(window: &Window, index: u64) -> Result<(), Refused> {
    match window.place(index) {
        Place::Free => Ok(()),
        Place::Taken => Err(Refused::Repeated),
        Place::Old => Err(Refused::Old),
    }
}
