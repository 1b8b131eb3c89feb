//! A checker for the part of JSON Schema that `schema.json` uses, stricter in one point: no field is undocumented.

use super::super::SCHEMA;
use serde_json::Value;
use std::sync::LazyLock;

static ROOT: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(SCHEMA).unwrap());

/// Panics where what the hub sends is not what the schema says.
pub(super) fn check_message(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap();
    if let Err(why) = check(&ROOT["$defs"]["message"], &value) {
        panic!("{text}: {why}");
    }
}

/// Panics where a request that the hub takes is not what the schema says.
pub(super) fn check_request(value: &Value) {
    if let Err(why) = check(&ROOT["$defs"]["request"], value) {
        panic!("{value}: {why}");
    }
}

fn check(schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let fine = match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
                check(ROOT["$defs"].get(name).expect("a reference leads somewhere"), value)?;
                true
            }
            "oneOf" => {
                let results: Vec<_> = rule.as_array().unwrap().iter().map(|one| check(one, value)).collect();
                if results.iter().filter(|result| result.is_ok()).count() != 1 {
                    return Err(format!("not exactly one of: {results:?}"));
                }
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|one| is_type(one, value)),
                one => is_type(one, value),
            },
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    let rule = rule.get(name).ok_or_else(|| format!("undocumented: {name}"))?;
                    check(rule, inner).map_err(|why| format!("{name}: {why}"))?;
                }
                true
            }
            "additionalProperties" => {
                for inner in value.as_object().into_iter().flat_map(|object| object.values()) {
                    check(rule, inner)?;
                }
                true
            }
            "items" => {
                for inner in value.as_array().into_iter().flatten() {
                    check(rule, inner)?;
                }
                true
            }
            "minimum" => value.as_i64().is_none_or(|n| n >= rule.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= rule.as_i64().unwrap()),
            "minLength" => value.as_str().is_none_or(|s| s.chars().count() as u64 >= rule.as_u64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|s| s.chars().count() as u64 <= rule.as_u64().unwrap()),
            "pattern" => {
                assert_eq!(rule, "^[A-Za-z0-9_-]{1,64}$", "the one pattern that this checker knows");
                let s = value.as_str().unwrap_or_default();
                (1..=64).contains(&s.len())
                    && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
            }
            "description" | "title" => true,
            other => panic!("a keyword that this checker doesn't know: {other}"),
        };
        if !fine {
            return Err(format!("{keyword} {rule}"));
        }
    }
    Ok(())
}

fn is_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let message = |text: &str| check(&ROOT["$defs"]["message"], &serde_json::from_str(text).unwrap());
    assert_eq!(message(r#"{"type":"registered","seq":1}"#), Ok(()));
    for wrong in [
        r#"{"type":"registered"}"#,
        r#"{"type":"registered","seq":0}"#,
        r#"{"type":"registered","seq":1,"extra":2}"#,
        r#"{"type":"ended","seq":1,"call":"a b","reason":"busy","code":486}"#,
        r#"{"type":"ended","seq":1,"call":"ab","reason":"sleepy","code":486}"#,
        r#"{"type":"dial","id":1}"#,
    ] {
        assert!(message(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_reason_of_a_leg_is_in_the_schema() {
    use crate::leg::{Cause, Reason};
    let known = &ROOT["$defs"]["event_ended"]["properties"]["reason"]["enum"];
    let mut names: Vec<&str> = (300..=699).map(|code| Reason::from_code(code).cause.name()).collect();
    names.extend(
        [Cause::Hangup, Cause::AnsweredElsewhere, Cause::Overloaded, Cause::MediaLost].map(Cause::name),
    );
    for name in names {
        assert!(known.as_array().unwrap().contains(&name.into()), "{name}");
    }
}
