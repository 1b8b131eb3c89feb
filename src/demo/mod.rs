//! The embedded SIP server: registrar, echo, tones.
