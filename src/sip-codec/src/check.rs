//! What a UAS must find in order before it acts on a message (RFC 3261 sections 8.1.1, 8.2; RFC 4475).

use crate::{Error, MediaType, Message, Method, Name, NameAddr, Scheme, Via, name};

/// Headers that must be there once.
const ONCE: [Name<'static>; 4] = [Name::From, Name::To, Name::CallId, Name::CSeq];
/// Headers that may be there once.
const AT_MOST_ONCE: [Name<'static>; 7] = [
    Name::MaxForwards,
    Name::ContentLength,
    Name::ContentType,
    Name::Expires,
    Name::Replaces,
    Name::SessionExpires,
    Name::ReferTo,
];

impl Message<'_> {
    /// The first fault for which a UAS refuses a request, with [`Error::status`], and for which anybody drops a
    /// response. In order: start line and version, mandatory headers, their syntax, the Request-URI, the `CSeq`
    /// method, headers that steer processing, the body.
    ///
    /// A missing Max-Forwards is let through: RFC 2543 had none. A `From` without tag is let through for the same
    /// reason. An ACK is never answered, whatever this says.
    pub fn check(&self) -> Result<(), Error> {
        if let Some(fault @ (Error::StartLine | Error::Version)) = self.fault() {
            return Err(fault);
        }
        self.check_counts()?;
        self.check_mandatory()?;
        if let Some(method) = self.method() {
            self.check_request_uri()?;
            if self.cseq()?.method != method {
                return Err(Error::MethodMismatch);
            }
        }
        self.check_optional()?;
        self.fault().map_or(Ok(()), Err)
    }

    fn check_counts(&self) -> Result<(), Error> {
        let (once, twice) = self.seen();
        let has = |set: u128, name: Name<'_>| set >> name::number(name) & 1 == 1;
        if let Some(name) = ONCE.into_iter().find(|name| !has(once, *name)) {
            return Err(Error::Missing(name));
        }
        let mut single = ONCE.into_iter().chain(AT_MOST_ONCE);
        single.find(|name| has(twice, *name)).map_or(Ok(()), |name| Err(Error::Repeated(name)))
    }

    fn check_mandatory(&self) -> Result<(), Error> {
        self.via()?;
        if !self.values(Name::Via).all(|via| Via::parse(via).is_ok()) {
            return Err(Error::Malformed(Name::Via));
        }
        self.check_address(Name::From)?;
        self.check_address(Name::To)?;
        self.call_id()?;
        self.cseq().map(drop)
    }

    fn check_address(&self, name: Name<'static>) -> Result<(), Error> {
        self.address(name)?.uri().map(drop).map_err(|_| Error::Malformed(name))
    }

    fn check_request_uri(&self) -> Result<(), Error> {
        let uri = self.uri()?;
        match uri.scheme {
            Scheme::Other(_) => Err(Error::Scheme),
            // Headers are not allowed there (RFC 3261 section 19.1.1, table 1).
            _ if !uri.headers.is_empty() => Err(Error::RequestUri),
            _ => Ok(()),
        }
    }

    fn check_optional(&self) -> Result<(), Error> {
        self.max_forwards()?;
        self.number(Name::Expires)?;
        if let Some(value) = self.header(Name::ContentType) {
            MediaType::parse(value).map_err(|_| Error::Malformed(Name::ContentType))?;
        }
        if !self.is_contact_star() {
            self.check_addresses(Name::Contact)?;
        } else if self.method() != Some(Method::Register) {
            return Err(Error::Malformed(Name::Contact));
        }
        self.check_addresses(Name::Route)?;
        self.check_addresses(Name::RecordRoute)
    }

    fn check_addresses(&self, name: Name<'static>) -> Result<(), Error> {
        self.values(name)
            .all(|value| NameAddr::parse(value).and_then(|addr| addr.uri()).is_ok())
            .then_some(())
            .ok_or(Error::Malformed(name))
    }
}
