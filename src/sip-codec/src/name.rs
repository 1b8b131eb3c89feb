//! Header names: known ones, their compact forms, and the rest.

use std::fmt;
use std::hash::{Hash, Hasher};

macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?,)*) => {
        /// A header name. Comparison ignores case, and compact forms are the same as long ones (RFC 3261
        /// section 7.3.3).
        #[derive(Clone, Copy, Debug)]
        pub enum Name<'a> {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other name.
            Other(&'a str),
        }

        /// Every known name, at the place of its number.
        const KNOWN: &[(Name<'static>, &str)] = &[$((Name::$variant, $text)),*];

        #[repr(u8)]
        enum Number { $($variant,)* }

        /// The names to look up with the number of each, compact forms too.
        const SPELLINGS: &[(&str, u8)] = &[
            $(($text, Number::$variant as u8), $(($compact, Number::$variant as u8),)?)*
        ];

        impl Name<'_> {
            /// The number of a known name, `OTHER` for the rest.
            #[inline]
            fn number(self) -> u8 {
                match self {
                    $(Name::$variant => Number::$variant as u8,)*
                    Name::Other(text) => find(text.as_bytes()),
                }
            }
        }
    };
}

names! {
    Accept "Accept",
    AcceptContact "Accept-Contact" "a",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    AlertInfo "Alert-Info",
    Allow "Allow",
    AllowEvents "Allow-Events" "u",
    AnswerMode "Answer-Mode",
    AuthenticationInfo "Authentication-Info",
    Authorization "Authorization",
    CallId "Call-ID" "i",
    CallInfo "Call-Info",
    Contact "Contact" "m",
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" "e",
    ContentLanguage "Content-Language",
    ContentLength "Content-Length" "l",
    ContentType "Content-Type" "c",
    CSeq "CSeq",
    Date "Date",
    Diversion "Diversion",
    ErrorInfo "Error-Info",
    Event "Event" "o",
    Expires "Expires",
    FlowTimer "Flow-Timer",
    From "From" "f",
    HistoryInfo "History-Info",
    Identity "Identity" "y",
    InReplyTo "In-Reply-To",
    InfoPackage "Info-Package",
    Join "Join",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MinSe "Min-SE",
    Organization "Organization",
    PAccessNetworkInfo "P-Access-Network-Info",
    PAssertedIdentity "P-Asserted-Identity",
    PAssociatedUri "P-Associated-URI",
    PCalledPartyId "P-Called-Party-ID",
    PChargingVector "P-Charging-Vector",
    PEarlyMedia "P-Early-Media",
    PPreferredIdentity "P-Preferred-Identity",
    Path "Path",
    Priority "Priority",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    RSeq "RSeq",
    Reason "Reason",
    RecordRoute "Record-Route",
    RecvInfo "Recv-Info",
    ReferSub "Refer-Sub",
    ReferTo "Refer-To" "r",
    ReferredBy "Referred-By" "b",
    RejectContact "Reject-Contact" "j",
    RemotePartyId "Remote-Party-ID",
    Replaces "Replaces",
    ReplyTo "Reply-To",
    RequestDisposition "Request-Disposition" "d",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    SecurityClient "Security-Client",
    SecurityServer "Security-Server",
    SecurityVerify "Security-Verify",
    Server "Server",
    ServiceRoute "Service-Route",
    SessionExpires "Session-Expires" "x",
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" "s",
    SubscriptionState "Subscription-State",
    Supported "Supported" "k",
    TargetDialog "Target-Dialog",
    Timestamp "Timestamp",
    To "To" "t",
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    UserToUser "User-to-User",
    Via "Via" "v",
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

// Sets of known names are kept in 128 bits.
const _: () = assert!(KNOWN.len() <= 128);

/// The number of a name that is not known.
pub(crate) const OTHER: u8 = u8::MAX;

const SLOTS: usize = 512;

/// A mix of length and three letters, cheap and even enough over the known names.
const fn slot(name: &[u8]) -> usize {
    let len = name.len();
    let first = (name[0] | 0x20) as usize;
    let middle = (name[len / 2] | 0x20) as usize;
    let last = (name[len - 1] | 0x20) as usize;
    (len * 31 + first * 7 + middle * 131 + last * 17) % SLOTS
}

/// Open addressing over [`SPELLINGS`], built by the compiler.
const TABLE: [u8; SLOTS] = {
    let mut table = [OTHER; SLOTS];
    let mut i = 0;
    while i < SPELLINGS.len() {
        let mut at = slot(SPELLINGS[i].0.as_bytes());
        while table[at] != OTHER {
            at = (at + 1) % SLOTS;
        }
        table[at] = i as u8;
        i += 1;
    }
    table
};

/// The number of the name spelled so.
pub(crate) fn find(name: &[u8]) -> u8 {
    if name.is_empty() {
        return OTHER;
    }
    let mut at = slot(name);
    while let Some((text, number)) = SPELLINGS.get(TABLE[at] as usize) {
        if text.as_bytes().eq_ignore_ascii_case(name) {
            return *number;
        }
        at = (at + 1) % SLOTS;
    }
    OTHER
}

/// The known name of a number.
pub(crate) fn known(number: u8) -> Option<Name<'static>> {
    KNOWN.get(number as usize).map(|(name, _)| *name)
}

/// The number of a name; [`OTHER`] if it is not known.
#[inline]
pub(crate) fn number(name: Name<'_>) -> u8 {
    name.number()
}

impl<'a> Name<'a> {
    /// The header that a name, long or compact, stands for.
    pub fn parse(text: &'a str) -> Self {
        known(find(text.as_bytes())).unwrap_or(Self::Other(text))
    }

    /// The long form.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Other(text) => text,
            name => KNOWN.get(name.number() as usize).map_or("", |(_, text)| text),
        }
    }
}

impl PartialEq for Name<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(text), name) | (name, Self::Other(text)) => {
                let (a, b) = (find(text.as_bytes()), name.number());
                a == b && (a != OTHER || text.eq_ignore_ascii_case(name.as_str()))
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let number = self.number();
        number.hash(state);
        if number == OTHER {
            self.as_str().bytes().for_each(|b| b.to_ascii_lowercase().hash(state));
        }
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
