//! `[[route]]`: where calls go, under which rules. Its shape, what is wrong with it, and what the call machine is told.

use super::File;
use crate::call::{self, Hours, MOST_RATE, Pattern, Quota, RouteFrom, RouteTo};
use crate::leg::{Account, Reason, TrunkId};
use jiff::tz::{Offset, TimeZone};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use toml::Spanned;

/// The compiled size that a regular expression may have, in bytes.
const REGEX_SIZE: usize = 1 << 20;
/// What `from` may say beside a trunk's name and `user:NAME`.
pub(super) const CLASSES: &[&str] = &["users", "browsers", "phones", "tokens"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `[[route]]`: where a call goes; the first that matches wins. A user's call that no route matches goes to the user's
/// own trunk. All conditions that are named must hold.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// A name for `bridgehead route` and the log.
    pub name: String,
    /// Whence the call comes: a trunk's name, `users` (all of them), `browsers`, `phones`, `tokens` (users whom no
    /// `[[user]]` names), or `user:NAME`; anywhere where absent.
    pub from: Option<Spanned<String>>,
    /// How the called number or name begins; anything where empty.
    pub number: String,
    /// A regular expression for the called number.
    pub number_regex: Option<Spanned<String>>,
    /// How the calling number or name begins.
    pub caller: String,
    /// A regular expression for the calling number.
    pub caller_regex: Option<Spanned<String>>,
    /// A header of the INVITE; no browser's call has any.
    pub header: Option<Spanned<String>>,
    /// What one of that header's values must hold; anything where absent.
    pub header_regex: Option<Spanned<String>>,
    /// Days on which it is open: `mon-fri`, `sat,sun`; all where absent.
    pub days: Option<Spanned<String>>,
    /// Hours in which it is open: `08:00-18:00`; a night (`22:00-06:00`) belongs to the day on which it begins.
    pub hours: Option<Spanned<String>>,
    /// On whose clocks: `+02:00`, or a name like `Europe/Berlin`; UTC where absent.
    pub zone: Option<Spanned<String>>,
    /// The trunk that the call goes to.
    pub trunk: Option<Spanned<String>>,
    /// Or several: one is chosen, and where it can't be reached the next.
    pub trunks: Vec<Member>,
    /// Or the SIP code that it is refused with.
    pub reject: Option<Spanned<u16>>,
    /// The Q.850 cause that a refusal gives in its Reason header.
    pub reject_q850: Option<Spanned<u8>>,
    /// What is done to the called number.
    pub rewrite_number: Option<Rewrite>,
    /// What is done to the calling number.
    pub rewrite_caller: Option<Rewrite>,
    /// Codecs that its calls may have, best first; the trunk's where empty.
    pub codecs: Vec<Spanned<String>>,
    /// Codecs that they may not have.
    pub deny_codecs: Vec<Spanned<String>>,
    /// Calls at once.
    pub max_calls: Option<u32>,
    /// Calls begun in any one second.
    pub calls_per_second: Option<Spanned<u32>>,
    /// Seconds that a call may last from its answer on.
    pub max_duration_s: Option<u32>,
    /// Emergency calls: they go over every limit, however busy the gateway is.
    pub emergency: bool,
}

/// One of `trunks`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub trunk: Spanned<String>,
    /// Those of the lowest number are tried first.
    #[serde(default)]
    pub priority: u16,
    /// Its share among those of the same priority; 0: only after the others.
    #[serde(default = "one")]
    pub weight: u16,
}

fn one() -> u16 {
    1
}

/// `rewrite_number`, `rewrite_caller` and a trunk's `dialled_as`: what is done to a number, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// An E.164 number is made of it, by the country in which it was dialled: that country's code.
    pub country: Option<Spanned<String>>,
    /// What a national number begins with in that country (`0`).
    pub national: String,
    /// What an international number begins with there (`00`, `011`).
    pub international: String,
    /// Characters that are taken off its beginning.
    pub strip: u16,
    /// A regular expression; what it finds first is replaced.
    pub find: Option<Spanned<String>>,
    /// By this; `$1` is the first group.
    pub replace: String,
    /// Put before it.
    pub prepend: String,
}

/// What is wrong, and where: an offset into the file.
#[derive(Debug)]
pub(super) struct Wrong {
    pub at: usize,
    pub what: String,
}

pub(super) fn wrong<T>(value: &Spanned<T>, what: String) -> Wrong {
    Wrong { at: value.span().start, what }
}

fn regex(value: Option<&Spanned<String>>, key: &str) -> Result<Option<Regex>, Wrong> {
    let Some(value) = value else { return Ok(None) };
    compiled(value, key).map(Some)
}

/// A regular expression of the operator's, found in linear time.
pub(super) fn compiled(value: &Spanned<String>, key: &str) -> Result<Regex, Wrong> {
    RegexBuilder::new(value.get_ref()).size_limit(REGEX_SIZE).build().map_err(|error| {
        let said = error.to_string();
        let said = said.lines().last().unwrap_or("").trim();
        wrong(
            value,
            format!(
                "{key}: {:?} is no regular expression ({said}); write one like '^\\+49[1-9]'",
                value.get_ref()
            ),
        )
    })
}

pub(super) fn trunk(file: &File, name: &Spanned<String>, key: &str) -> Result<TrunkId, Wrong> {
    let found = file.trunk.iter().position(|trunk| trunk.name.get_ref() == name.get_ref());
    found.map(|n| TrunkId(n as u16)).ok_or_else(|| {
        let known: Vec<_> = file.trunk.iter().map(|trunk| trunk.name.get_ref().as_str()).collect();
        let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
        wrong(name, format!("{key}: no trunk is named {:?}; known: {known}", name.get_ref()))
    })
}

/// The codecs of a list, in one key.
pub(super) fn codecs(names: &[Spanned<String>], key: &str) -> Result<(), Wrong> {
    let known = super::check::CODECS;
    match names.iter().find(|codec| !known.contains(&codec.get_ref().as_str())) {
        Some(codec) => {
            let what =
                format!("{key}: {:?} is not known; choose among {}", codec.get_ref(), known.join(", "));
            Err(wrong(codec, what))
        }
        None => Ok(()),
    }
}

/// A limit of calls a second.
pub(super) fn rate(value: Option<&Spanned<u32>>) -> Result<Option<u32>, Wrong> {
    match value {
        Some(rate) if *rate.get_ref() == 0 || *rate.get_ref() > MOST_RATE => Err(wrong(
            rate,
            format!("calls_per_second: {} can't be held; use 1 to {MOST_RATE}", rate.get_ref()),
        )),
        rate => Ok(rate.map(|rate| *rate.get_ref())),
    }
}

impl Rewrite {
    pub(super) fn plan(&self, key: &str) -> Result<call::Rewrite, Wrong> {
        let digits = |code: &str| (1..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
        if let Some(code) = self.country.as_ref().filter(|code| !digits(code.get_ref())) {
            let what = format!("country: {:?} is no country's code; write it as \"49\"", code.get_ref());
            return Err(wrong(code, what));
        }
        let find = regex(self.find.as_ref(), key)?;
        Ok(call::Rewrite {
            e164: self.country.as_ref().map(|country| call::NumberPlan {
                country: country.get_ref().clone(),
                national: self.national.clone(),
                international: self.international.clone(),
            }),
            strip: usize::from(self.strip),
            replace: find.map(|find| (find, self.replace.clone())),
            prepend: self.prepend.clone(),
        })
    }
}

impl Route {
    fn from(&self, file: &File) -> Result<RouteFrom, Wrong> {
        let Some(from) = &self.from else { return Ok(RouteFrom::Any) };
        Ok(match from.get_ref().as_str() {
            "users" => RouteFrom::Accounts,
            "browsers" => RouteFrom::Browsers,
            "phones" => RouteFrom::Phones,
            "tokens" => RouteFrom::Tokens,
            name => match name.strip_prefix("user:") {
                Some("") => {
                    return Err(wrong(from, "from: it names no user; write it as \"user:alice\"".into()));
                }
                Some(user) => RouteFrom::Account(Account::from(user)),
                None => RouteFrom::Trunk(trunk(file, from, "from")?),
            },
        })
    }

    fn to(&self, file: &File) -> Result<RouteTo, Wrong> {
        let several = self.trunks.first().map(|member| &member.trunk);
        match (self.trunk.as_ref(), several, &self.reject) {
            (Some(name), None, None) => trunk(file, name, "trunk").map(RouteTo::Trunk),
            (None, Some(_), None) => {
                let member = |member: &Member| {
                    let (priority, weight) = (member.priority, member.weight);
                    trunk(file, &member.trunk, "trunks").map(|trunk| call::Member { trunk, priority, weight })
                };
                self.trunks.iter().map(member).collect::<Result<_, _>>().map(RouteTo::Group)
            }
            (None, None, Some(code)) if (400..700).contains(code.get_ref()) => {
                let q850 = self.reject_q850.as_ref();
                if let Some(cause) = q850.filter(|cause| !(1..128).contains(cause.get_ref())) {
                    let what = format!("reject_q850: {} is no Q.850 cause; use 1 to 127", cause.get_ref());
                    return Err(wrong(cause, what));
                }
                let q850 = q850.map_or(0, |cause| *cause.get_ref());
                Ok(RouteTo::Reject(Reason::from_code(*code.get_ref()).with_q850(q850)))
            }
            (None, None, Some(code)) => Err(wrong(
                code,
                format!("reject: {} is not a SIP error code; use 400 to 699", code.get_ref()),
            )),
            (Some(name), ..) | (None, Some(name), _) => {
                let what = "trunk: a route has either trunk, trunks or reject; remove the others";
                Err(wrong(name, what.into()))
            }
            (None, None, None) => Err(Wrong { at: usize::MAX, what: String::new() }),
        }
    }

    fn header(&self) -> Result<Option<(String, Regex)>, Wrong> {
        let Some(name) = &self.header else {
            return match &self.header_regex {
                None => Ok(None),
                Some(lone) => Err(wrong(lone, "header_regex: of which header? add header = \"NAME\"".into())),
            };
        };
        if name.get_ref().is_empty()
            || !name.get_ref().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            let what = format!("header: {:?} is no header's name; write it as \"X-Tier\"", name.get_ref());
            return Err(wrong(name, what));
        }
        let found = match regex(self.header_regex.as_ref(), "header_regex")? {
            Some(regex) => regex,
            None => compiled(&Spanned::new(0..0, String::new()), "header_regex")?,
        };
        Ok(Some((name.get_ref().clone(), found)))
    }

    fn hours(&self) -> Result<Option<Hours>, Wrong> {
        if self.days.is_none() && self.hours.is_none() {
            return match &self.zone {
                None => Ok(None),
                Some(lone) => {
                    Err(wrong(lone, "zone: of which time? add hours = \"08:00-18:00\" or days".into()))
                }
            };
        }
        let days = match &self.days {
            None => [true; 7],
            Some(days) => read_days(days.get_ref()).ok_or_else(|| {
                wrong(days, format!("days: {:?} are no days; write them as \"mon-fri,sun\"", days.get_ref()))
            })?,
        };
        let (from, until) = match &self.hours {
            None => (0, 24 * 60),
            Some(hours) => read_hours(hours.get_ref()).ok_or_else(|| {
                wrong(
                    hours,
                    format!("hours: {:?} are no hours; write them as \"08:00-18:00\"", hours.get_ref()),
                )
            })?,
        };
        let zone = match &self.zone {
            None => TimeZone::UTC,
            Some(zone) => read_zone(zone.get_ref()).ok_or_else(|| {
                let what = format!(
                    "zone: {:?} is not known here; write an offset like \"+02:00\", or install tzdata",
                    zone.get_ref()
                );
                wrong(zone, what)
            })?,
        };
        Ok(Some(Hours { days, from, until, zone }))
    }

    /// What the call machine is told of it; else what is wrong.
    pub(super) fn plan(route: &Spanned<Route>, file: &File) -> Result<call::Route, Wrong> {
        let whole = route;
        let route = whole.get_ref();
        let nowhere = |fault: Wrong| match fault.at {
            usize::MAX => {
                wrong(whole, "route: without trunk or reject it goes nowhere; add trunk = \"NAME\"".into())
            }
            _ => fault,
        };
        codecs(&route.codecs, "codecs")?;
        codecs(&route.deny_codecs, "deny_codecs")?;
        let names = |list: &[Spanned<String>]| -> Vec<crate::sdp::Codec> {
            let names: Vec<&str> = list.iter().map(|codec| codec.get_ref().as_str()).collect();
            if names.is_empty() { Vec::new() } else { call::codecs(&names) }
        };
        let denied = names(&route.deny_codecs).into_iter().filter(|codec| !codec.is_auxiliary()).collect();
        let rate = rate(route.calls_per_second.as_ref())?;
        let rewrite = |rewrite: &Option<Rewrite>, key| {
            rewrite.as_ref().map(|rewrite: &Rewrite| rewrite.plan(key)).transpose()
        };
        Ok(call::Route {
            name: route.name.clone(),
            from: route.from(file)?,
            called: Pattern {
                prefix: route.number.clone(),
                regex: regex(route.number_regex.as_ref(), "number_regex")?,
            },
            calling: Pattern {
                prefix: route.caller.clone(),
                regex: regex(route.caller_regex.as_ref(), "caller_regex")?,
            },
            header: route.header()?,
            hours: route.hours()?,
            to: route.to(file).map_err(nowhere)?,
            rewrite_called: rewrite(&route.rewrite_number, "rewrite_number")?,
            rewrite_calling: rewrite(&route.rewrite_caller, "rewrite_caller")?,
            codecs: names(&route.codecs),
            denied,
            longest: route.max_duration_s.map(|s| Duration::from_secs(s.into())),
            emergency: route.emergency,
            quota: Arc::new(Quota::new(route.max_calls, rate)),
        })
    }
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|day| name.trim().eq_ignore_ascii_case(day));
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut at, last) = (day(first)?, day(last)?);
        days[at] = true;
        while at != last {
            at = (at + 1) % 7;
            days[at] = true;
        }
    }
    Some(days)
}

fn read_hours(text: &str) -> Option<(u16, u16)> {
    let clock = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let (hour, minute): (u8, u8) = (hour.parse().ok()?, minute.parse().ok()?);
        let minutes = u16::from(hour) * 60 + u16::from(minute);
        (minute < 60 && minutes <= 24 * 60).then_some(minutes)
    };
    let (from, until) = text.split_once('-')?;
    Some((clock(from).filter(|from| *from < 24 * 60)?, clock(until)?))
}

fn read_zone(text: &str) -> Option<TimeZone> {
    let Some(sign) = text.chars().next().filter(|c| matches!(c, '+' | '-')) else {
        return TimeZone::get(text).ok();
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = (hours * 60 + minutes) * 60;
    let in_range = (0..=14).contains(&hours) && (0..60).contains(&minutes);
    let seconds = if sign == '-' { -seconds } else { seconds };
    in_range.then(|| Offset::from_seconds(seconds).ok().map(TimeZone::fixed))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    const TRUNKS: &str = "[[trunk]]\nname = \"a\"\naddress = \"127.0.0.1:5070\"\n\
                          [[trunk]]\nname = \"b\"\naddress = \"127.0.0.1:5071\"\n";

    fn plan(route: &str) -> Result<call::Route, String> {
        let text = format!("{TRUNKS}[[route]]\n{route}");
        let file = read("b.toml", &text).map_err(|error| error.to_string())?;
        Route::plan(&file.route[0], &file).map_err(|wrong| wrong.what)
    }

    #[test]
    fn all_that_a_route_can_say_is_read() {
        let route = plan(
            "from = \"user:alice\"\nnumber = \"0\"\nnumber_regex = '^0\\d+$'\ncaller = \"+\"\nheader = \"X-T\"\n\
             days = \"fri-mon\"\nhours = \"22:00-06:30\"\nzone = \"-03:30\"\n\
             trunks = [{ trunk = \"b\", priority = 2, weight = 7 }, { trunk = \"a\" }]\n\
             rewrite_number = { strip = 1, prepend = \"00\" }\nrewrite_caller = { find = \"^0\", replace = \"+49\" }\n\
             codecs = [\"pcma\"]\ndeny_codecs = [\"pcmu\"]\nmax_calls = 10\ncalls_per_second = 5\n\
             max_duration_s = 3600\nemergency = true\n",
        )
        .unwrap();
        assert_eq!(route.from, RouteFrom::Account("alice".into()));
        let member = |n: u16, priority, weight| call::Member { trunk: TrunkId(n), priority, weight };
        assert_eq!(route.to, RouteTo::Group(vec![member(1, 2, 7), member(0, 0, 1)]));
        let hours = route.hours.unwrap();
        assert_eq!(hours.days, [true, false, false, false, true, true, true]);
        assert_eq!((hours.from, hours.until), (22 * 60, 6 * 60 + 30));
        assert_eq!(route.rewrite_called.unwrap().apply("0123"), "00123");
        assert_eq!(route.rewrite_calling.unwrap().apply("030"), "+4930");
        assert_eq!((route.longest, route.emergency), (Some(Duration::from_hours(1)), true));
        assert_eq!((route.quota.most(), route.denied.len()), (Some(10), 1));
        assert!(route.called.is_match("01") && !route.called.is_match("0"));
    }

    #[test]
    fn what_is_wrong_names_the_key_the_line_and_the_fix() {
        let cases: &[(&str, &[&str])] = &[
            ("trunk = \"x\"", &["b.toml:8:", "trunk", "known: a, b"]),
            ("trunk = \"a\"\nreject = 404", &["b.toml:8:", "remove"]),
            ("trunk = \"a\"\ntrunks = [{ trunk = \"b\" }]", &["b.toml:8:", "remove"]),
            ("reject = 200", &["b.toml:8:", "400 to 699"]),
            ("reject = 404\nreject_q850 = 0", &["b.toml:9:", "reject_q850", "1 to 127"]),
            ("reject = 404\nfrom = \"user:\"", &["b.toml:9:", "user:alice"]),
            ("reject = 404\nnumber_regex = \"(\"", &["b.toml:9:", "number_regex", "unclosed group"]),
            ("reject = 404\nheader_regex = \"a\"", &["b.toml:9:", "header = "]),
            ("reject = 404\nheader = \"a b\"", &["b.toml:9:", "X-Tier"]),
            ("reject = 404\ndays = \"monday\"", &["b.toml:9:", "mon-fri,sun"]),
            ("reject = 404\nhours = \"8-18\"", &["b.toml:9:", "08:00-18:00"]),
            ("reject = 404\nhours = \"24:00-18:00\"", &["b.toml:9:", "08:00-18:00"]),
            ("reject = 404\nhours = \"8:00-18:00\"\nzone = \"Moon/Crater\"", &["b.toml:10:", "+02:00"]),
            ("reject = 404\nzone = \"+01:00\"", &["b.toml:9:", "hours = "]),
            ("trunk = \"a\"\ncodecs = [\"mp3\"]", &["b.toml:9:", "codecs", "opus, g722"]),
            ("trunk = \"a\"\ncalls_per_second = 0", &["b.toml:9:", "calls_per_second", "1 to 10000"]),
            ("trunk = \"a\"\nrewrite_number = { country = \"+49\" }", &["b.toml:9:", "country", "\"49\""]),
            ("trunk = \"a\"\nrewrite_caller = { find = \"[\" }", &["b.toml:9:", "rewrite_caller"]),
        ];
        for (route, parts) in cases {
            let said = plan(route).unwrap_err();
            assert!(!said.contains('\n'), "{said}");
            for part in *parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
        let said = read("b.toml", "[[trunk]]\nname = \"phones\"\naddress = \"127.0.0.1:1\"").unwrap_err();
        assert!(said.to_string().contains("choose another"), "{said}");
    }

    #[test]
    fn a_zone_is_an_offset_or_a_name() {
        let offset = |zone: &str| {
            let moment = jiff::Timestamp::from_second(1_704_067_200).unwrap();
            read_zone(zone).map(|zone| zone.to_offset(moment).seconds())
        };
        assert_eq!(offset("+05:30"), Some(19_800));
        assert_eq!(offset("-03:00"), Some(-10_800));
        for wrong in ["+5", "05:30", "+15:00", "+01:60", "", "x", "+é:00"] {
            assert_eq!(offset(wrong), None, "{wrong}");
        }
        // Only where the machine has the zones.
        if std::path::Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            assert_eq!(offset("Europe/Berlin"), Some(3_600));
        }
    }
}
