//! The policy keys of `[[trunk]]`: trust, header rules, reasons, methods. Their shape, what is wrong with them, and what
//! the SIP stack is told.

use super::route::{Wrong, compiled, wrong};
use super::{Trunk, file};
use crate::leg::Cause;
use crate::sip::{self, Act, Asserting, Block, Rule, Trust, Way};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use toml::Spanned;

/// The least that `max_body` can be: an ordinary session description has as much.
const LEAST_BODY: u32 = 512;
/// Methods that a trunk can be told to keep to.
const METHODS: &[&str] = &[
    "INVITE",
    "OPTIONS",
    "UPDATE",
    "INFO",
    "NOTIFY",
    "PRACK",
    "REFER",
    "MESSAGE",
    "SUBSCRIBE",
    "REGISTER",
    "PUBLISH",
];

/// `trust`: whether a SIP server is of a network that is trusted with who calls (RFC 3325).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// Not at all: what it says of callers is left out, and it is told no more than From says.
    #[default]
    None,
    /// What it says is believed.
    From,
    /// It is told who calls, even where the caller is to stay unknown.
    To,
    /// Both.
    Both,
}

/// `identity_as`: by which header a trusted SIP server is told who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityAs {
    /// `P-Asserted-Identity`.
    #[default]
    Asserted,
    /// `P-Preferred-Identity`.
    Preferred,
    /// `Remote-Party-ID`.
    RemoteParty,
}

/// One of `headers`: a rule on the INVITEs of one direction. Rules act in their order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderRule {
    /// `in`: of calls from the trunk; `out`: of calls to it.
    pub way: HeaderWay,
    /// The header's name; for `pass` and `remove` also the beginning of an `X-` header (`X-Case-*`).
    pub name: Spanned<String>,
    /// `pass`, `remove`, `add` or `rewrite`.
    #[serde(rename = "do")]
    pub act: HeaderAct,
    /// What `add` writes.
    #[serde(default)]
    pub value: String,
    /// The regular expression of `rewrite`; what it finds first is replaced.
    #[serde(default)]
    pub find: Option<Spanned<String>>,
    /// By this; `$1` is the first group.
    #[serde(default)]
    pub replace: String,
}

/// `way`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderWay {
    /// From the trunk.
    In,
    /// To the trunk.
    Out,
}

/// `do`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderAct {
    /// Lets it go across.
    Pass,
    /// Takes it away.
    Remove,
    /// Puts it in.
    Add,
    /// Lets it go across, changed.
    Rewrite,
}

/// What a code of `reasons` means, or what is sent for a cause.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Meaning {
    /// The name of a cause.
    Cause(String),
    /// A response code.
    Code(u16),
}

/// `reasons`
pub type Reasons = BTreeMap<String, Spanned<Meaning>>;

pub(super) fn blocks<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Block>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let block = |text: String| {
        text.parse().map_err(|sip::NoBlock| {
            D::Error::custom(format!("{text:?} is no address; write it as \"192.0.2.7\" or \"192.0.2.0/24\""))
        })
    };
    texts.into_iter().map(block).collect()
}

/// What the stack is told; else what is wrong.
pub(super) fn policy(trunk: &Trunk) -> Result<sip::Policy, Wrong> {
    let (from, to) = match trunk.trust {
        Trusted::None => (false, false),
        Trusted::From => (true, false),
        Trusted::To => (false, true),
        Trusted::Both => (true, true),
    };
    if let Some(most) = trunk.max_body.as_ref().filter(|most| *most.get_ref() < LEAST_BODY) {
        let what = format!(
            "max_body: {} holds no description of a session; use {LEAST_BODY} or more",
            most.get_ref()
        );
        return Err(wrong(most, what));
    }
    if let Some(method) = trunk.methods.iter().find(|method| !METHODS.contains(&method.get_ref().as_str())) {
        let what =
            format!("methods: {:?} is not known; choose among {}", method.get_ref(), METHODS.join(", "));
        return Err(wrong(method, what));
    }
    Ok(sip::Policy {
        trust: Trust { from, to },
        asserting: match trunk.identity_as {
            IdentityAs::Asserted => Asserting::Asserted,
            IdentityAs::Preferred => Asserting::Preferred,
            IdentityAs::RemoteParty => Asserting::RemoteParty,
        },
        rules: trunk.headers.iter().map(rule).collect::<Result<_, _>>()?,
        reasons: reasons(&trunk.reasons)?,
        methods: trunk.methods.iter().map(|method| method.get_ref().clone()).collect(),
        max_body: trunk
            .max_body
            .as_ref()
            .map_or(sip::Policy::default().max_body, |most| *most.get_ref() as usize),
    })
}

fn rule(rule: &HeaderRule) -> Result<Rule, Wrong> {
    let name = &rule.name;
    let stray = |key: &str| {
        let what = format!("headers: {key} means nothing with this do at {:?}; remove it", name.get_ref());
        Err(wrong(name, what))
    };
    let rewrites = rule.act == HeaderAct::Rewrite;
    if !rewrites && (rule.find.is_some() || !rule.replace.is_empty()) {
        return stray("find or replace");
    }
    if rule.act != HeaderAct::Add && !rule.value.is_empty() {
        return stray("value");
    }
    let act = match rule.act {
        HeaderAct::Pass => Act::Pass,
        HeaderAct::Remove => Act::Remove,
        HeaderAct::Add => Act::Add(rule.value.clone()),
        HeaderAct::Rewrite => {
            let Some(find) = &rule.find else {
                let what = format!("headers: rewrite {:?} of what? add find = '^.*$'", name.get_ref());
                return Err(wrong(name, what));
            };
            Act::Rewrite(compiled(find, "find")?, rule.replace.clone())
        }
    };
    let way = if rule.way == HeaderWay::In { Way::In } else { Way::Out };
    Rule::new(way, name.get_ref(), act)
        .map_err(|why| wrong(name, format!("headers: no rule can be made for {:?}: {why}", name.get_ref())))
}

fn reasons(table: &Reasons) -> Result<sip::Reasons, Wrong> {
    let mut reasons = sip::Reasons::default();
    for (key, meaning) in table {
        let fault = |what: String| Err(wrong(meaning, format!("reasons: {what}")));
        let names = || Cause::names().collect::<Vec<_>>().join(", ");
        match meaning.get_ref() {
            Meaning::Cause(name) => {
                let Some(cause) = Cause::named(name) else {
                    return fault(format!("no cause is named {name:?}; known: {}", names()));
                };
                let q850 = key.strip_prefix("q850-").and_then(|q850| q850.parse::<u8>().ok());
                let code = key.parse::<u16>().ok().filter(|code| (300..700).contains(code));
                match (q850.filter(|q850| (1..128).contains(q850)), code) {
                    (Some(q850), _) => reasons.q850.push((q850, cause)),
                    (None, Some(code)) => reasons.codes.push((code, cause)),
                    (None, None) => {
                        return fault(format!("{key:?} is no code; write it as \"503\" or \"q850-34\""));
                    }
                }
            }
            Meaning::Code(code) => {
                let Some(cause) = Cause::named(key) else {
                    return fault(format!("no cause is named {key:?}; known: {}", names()));
                };
                if !(400..700).contains(code) {
                    return fault(format!("{code} is not a SIP error code; use 400 to 699"));
                }
                reasons.said.push((cause, *code));
            }
        }
    }
    Ok(reasons)
}

impl From<file::Strangers> for sip::Strangers {
    fn from(strangers: file::Strangers) -> Self {
        match strangers {
            file::Strangers::Refuse => sip::Strangers::Refuse,
            file::Strangers::Ignore => sip::Strangers::Ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    fn plan(keys: &str) -> Result<sip::Policy, String> {
        let text = format!("[[trunk]]\nname = \"a\"\naddress = \"127.0.0.1:5070\"\n{keys}");
        let file = read("b.toml", &text).map_err(|error| error.to_string())?;
        policy(&file.trunk[0]).map_err(|wrong| wrong.what)
    }

    #[test]
    fn all_that_can_be_said_of_a_trunk_is_read() {
        let policy = plan(
            "trust = \"both\"\nidentity_as = \"remote-party\"\nmethods = [\"INVITE\", \"OPTIONS\"]\nmax_body = 4096\n\
             accept = [\"192.0.2.0/24\", \"2001:db8::1\"]\n\
             headers = [{ way = \"in\", name = \"X-*\", do = \"pass\" }, { way = \"out\", name = \"X-A\", do = \"rewrite\", \
             find = 'a', replace = \"b\" }, { way = \"out\", name = \"X-B\", do = \"add\", value = \"c\" }]\n\
             reasons = { 503 = \"busy\", q850-34 = \"overloaded\", declined = 480 }\n",
        )
        .unwrap();
        assert_eq!(policy.trust, Trust { from: true, to: true });
        assert_eq!((policy.asserting, policy.max_body), (Asserting::RemoteParty, 4096));
        assert_eq!((policy.rules.len(), policy.methods.len()), (3, 2));
        assert_eq!(policy.reasons.codes, [(503, Cause::Busy)]);
        assert_eq!(policy.reasons.q850, [(34, Cause::Overloaded)]);
        assert_eq!(policy.reasons.said, [(Cause::Declined, 480)]);
        assert_eq!(plan("").unwrap().trust, Trust::default());
    }

    #[test]
    fn what_is_wrong_names_the_key_the_line_and_the_fix() {
        let cases: &[(&str, &[&str])] = &[
            ("accept = [\"192.0.2.0/33\"]", &["b.toml:4:", "accept", "192.0.2.0/24"]),
            ("trust = \"maybe\"", &["b.toml:4:", "trust", "both"]),
            ("max_body = 10", &["b.toml:4:", "max_body", "512"]),
            ("methods = [\"invite\"]", &["b.toml:4:", "methods", "INVITE, OPTIONS"]),
            (
                "headers = [{ way = \"in\", name = \"Via\", do = \"pass\" }]",
                &["b.toml:4:", "headers", "\"Via\"", "own"],
            ),
            ("headers = [{ way = \"in\", name = \"X-A\", do = \"rewrite\" }]", &["b.toml:4:", "find = "]),
            (
                "headers = [{ way = \"in\", name = \"X-A\", do = \"pass\", value = \"a\" }]",
                &["b.toml:4:", "value", "remove"],
            ),
            (
                "headers = [{ way = \"in\", name = \"X-A\", do = \"add\", find = \"a\" }]",
                &["b.toml:4:", "find", "remove"],
            ),
            ("headers = [{ way = \"up\", name = \"X-A\", do = \"pass\" }]", &["b.toml:4:", "`in`"]),
            ("reasons = { 503 = \"bizy\" }", &["b.toml:4:", "reasons", "bizy", "busy, declined"]),
            ("reasons = { 200 = \"busy\" }", &["b.toml:4:", "q850-34"]),
            ("reasons = { bizy = 486 }", &["b.toml:4:", "bizy"]),
            ("reasons = { busy = 200 }", &["b.toml:4:", "400 to 699"]),
        ];
        for (keys, parts) in cases {
            let said = plan(keys).unwrap_err();
            assert!(!said.contains('\n'), "{said}");
            for part in *parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
    }
}
