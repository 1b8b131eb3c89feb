//! What goes out: every index is used once, whatever the caller does (RFC 3711 section 9.1, RFC 7714 section 8.4).

use super::cipher::{CM_TAG, Cipher, GCM_TAG};
use super::kdf::Master;
use super::{
    ENCRYPTED, LAST_INDEX, LAST_RTCP_INDEX, Place, RTCP_HEADER, RTCP_INDEX, Refused, Window, ssrc_at,
};
use crate::base::Packet;
use crate::rtp::{Header, Profile, set_sequence};
use smallvec::SmallVec;

/// The sending direction of one transport.
///
/// It is no `Clone`, and two of them must never be made of the same keys: a counter that begins again gives the key
/// stream away. What every packet needs stands first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Send {
    streams: SmallVec<[Stream; 2]>,
    rtp: Cipher,
    rtcp: Cipher,
    cap: usize,
    // One counter for all SSRCs: unique for each of them too.
    rtcp_index: u64,
}

/// The indexes that one SSRC has used.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: u32,
    used: Window,
}

impl Send {
    /// Bytes from its beginning that a packet touches.
    pub(in crate::media) const HOT: usize = std::mem::offset_of!(Send, rtcp);

    /// A context from a master key and salt (as `rtp::Keys::send` has them) for at most `cap` SSRCs.
    pub fn new(profile: Profile, material: &[u8; 46], cap: usize) -> Send {
        let master = Master::new(profile, material);
        Send {
            rtp: Cipher::new(profile, &master, false),
            rtcp: Cipher::new(profile, &master, true),
            streams: SmallVec::new(),
            cap,
            rtcp_index: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn from_ciphers(rtp: Cipher, rtcp: Cipher, rtcp_index: u64) -> Send {
        Send { rtp, rtcp, streams: SmallVec::new(), cap: 4, rtcp_index }
    }

    /// Marks the index as used, or says why it can't be.
    #[inline]
    fn take(&mut self, ssrc: u32, index: u64) -> Result<(), Refused> {
        if index > LAST_INDEX {
            return Err(Refused::Exhausted);
        }
        let place = match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(place) => place,
            None if self.streams.len() < self.cap => {
                self.streams.push(Stream { ssrc, used: Window::default() });
                self.streams.len() - 1
            }
            None => return Err(Refused::Full),
        };
        let used = &mut self.streams[place].used;
        match used.place(index) {
            Place::Free => {
                used.mark(index);
                Ok(())
            }
            Place::Taken => Err(Refused::Repeated),
            Place::Old => Err(Refused::Old),
        }
    }

    /// Makes an RTP packet an SRTP packet with this index: rollover counter times 2^16, and the sequence number, which
    /// is written into the header. An index that was used before, or that is too old to tell, is refused.
    #[inline]
    pub fn protect(&mut self, index: u64, packet: &mut Packet) -> Result<(), Refused> {
        let header = Header::parse(packet.bytes()).ok_or(Refused::Malformed)?;
        let length = packet.len();
        let tag = match &self.rtp {
            Cipher::Cm(_) => CM_TAG,
            Cipher::Gcm(_) => GCM_TAG,
        };
        if !packet.grow(tag) {
            return Err(Refused::Long);
        }
        self.take(header.ssrc, index)?;
        let bytes = packet.bytes_mut();
        set_sequence(bytes, index as u16);
        match &self.rtp {
            Cipher::Cm(cm) => {
                cm.crypt(header.ssrc, index, &mut bytes[header.length..length]);
                // The rollover counter is authenticated but not sent: it stands where the tag will.
                bytes[length..length + 4].copy_from_slice(&((index >> 16) as u32).to_be_bytes());
                let tag = cm.tag(&bytes[..length + 4]);
                bytes[length..].copy_from_slice(&tag);
            }
            Cipher::Gcm(gcm) => {
                let (body, end) = bytes.split_at_mut(length);
                let (aad, data) = body.split_at_mut(header.length);
                end.copy_from_slice(&gcm.seal(header.ssrc, index, aad, data).ok_or(Refused::Long)?);
            }
        }
        Ok(())
    }

    /// Makes an RTCP packet an SRTCP packet with the next index.
    pub fn protect_rtcp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let length = packet.len();
        if length < RTCP_HEADER {
            return Err(Refused::Malformed);
        }
        if self.rtcp_index > LAST_RTCP_INDEX {
            return Err(Refused::Exhausted);
        }
        let index = self.rtcp_index;
        let word = (ENCRYPTED | index as u32).to_be_bytes();
        let tail = match &self.rtcp {
            Cipher::Cm(_) => RTCP_INDEX + CM_TAG,
            Cipher::Gcm(_) => GCM_TAG + RTCP_INDEX,
        };
        if !packet.grow(tail) {
            return Err(Refused::Long);
        }
        self.rtcp_index += 1;
        let bytes = packet.bytes_mut();
        let ssrc = ssrc_at(bytes, 4).ok_or(Refused::Malformed)?;
        match &self.rtcp {
            Cipher::Cm(cm) => {
                cm.crypt(ssrc, index, &mut bytes[RTCP_HEADER..length]);
                bytes[length..length + RTCP_INDEX].copy_from_slice(&word);
                let tag = cm.tag(&bytes[..length + RTCP_INDEX]);
                bytes[length + RTCP_INDEX..].copy_from_slice(&tag);
            }
            Cipher::Gcm(gcm) => {
                let (body, end) = bytes.split_at_mut(length);
                let (head, data) = body.split_at_mut(RTCP_HEADER);
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                aad[..RTCP_HEADER].copy_from_slice(head);
                aad[RTCP_HEADER..].copy_from_slice(&word);
                end[..GCM_TAG].copy_from_slice(&gcm.seal(ssrc, index, &aad, data).ok_or(Refused::Long)?);
                end[GCM_TAG..].copy_from_slice(&word);
            }
        }
        Ok(())
    }
}
