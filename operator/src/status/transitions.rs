//! Which changes of a status are worth an Event: pure.
//!
//! An Event tells what a condition can't: that it changed, and when. It comes
//! with the write of the status, so that it is as rare as those are.

use serde_json::Value;

use crate::events::{Note, Reason, Severity};

use super::{StatusKind, StatusRef};

/// From a condition's type, status and reason to what is told of it.
struct Row {
    condition: &'static str,
    /// None: any.
    reasons: &'static [&'static str],
    event: Reason,
}

/// What goes wrong, when a condition turns False with one of these reasons.
const ROWS: [Row; 5] = [
    Row {
        condition: "Accepted",
        reasons: &["Conflicted"],
        event: Reason::Conflicted,
    },
    Row {
        condition: "Accepted",
        reasons: &[],
        event: Reason::NotAccepted,
    },
    Row {
        condition: "ResolvedRefs",
        reasons: &[],
        event: Reason::UnresolvedRefs,
    },
    Row {
        condition: "CredentialsReady",
        reasons: &["Rejected401"],
        event: Reason::CredentialRejected,
    },
    Row {
        condition: "Programmed",
        reasons: &["Rejected", "PartiallyProgrammed"],
        event: Reason::Rejected,
    },
];

/// What to tell when the status of `object` went from `before` to `after`. Of
/// several conditions that turned bad the first is told: the others follow from it.
pub(super) fn notes(object: &StatusRef, uid: &str, before: &Value, after: &Value) -> Vec<Note> {
    let bad = ROWS.iter().find_map(|row| {
        let message = row.turned_bad(before, after)?;
        let note = Note::about(object, uid, Severity::Warning, row.event, message);
        Some(note)
    });
    let rotated = rotation(object, uid, before, after);
    bad.into_iter().chain(rotated).collect()
}

/// The Event of references that still lead nowhere, in the words of now.
pub(super) fn unresolved(object: &StatusRef, uid: &str, status: &Value) -> Option<Note> {
    let condition = condition(status, "ResolvedRefs").filter(|c| c["status"] == "False")?;
    let message = condition["message"].as_str().unwrap_or_default();
    let reason = Reason::UnresolvedRefs;
    Some(Note::about(object, uid, Severity::Warning, reason, message))
}

/// A key took the place of another. A first key is no rotation.
fn rotation(object: &StatusRef, uid: &str, before: &Value, after: &Value) -> Option<Note> {
    let hash = |status: &Value| {
        let hash = status.pointer("/credential/hash8")?.as_str()?;
        (!hash.is_empty()).then(|| hash.to_owned())
    };
    let (before, after) = (hash(before)?, hash(after)?);
    (object.kind == StatusKind::Provider && before != after).then(|| {
        let message = format!("the key changed: {before} is now {after} (hashes)");
        let reason = Reason::CredentialRotated;
        Note::about(object, uid, Severity::Normal, reason, &message)
    })
}

fn condition<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == name)
}

// ---------------------------------------------------------------- impl Row

impl Row {
    /// The condition's message, if it is this row's now and was something else before.
    fn turned_bad<'a>(&self, before: &Value, after: &'a Value) -> Option<&'a str> {
        let after = condition(after, self.condition)?;
        let reason = after["reason"].as_str().unwrap_or_default();
        let ours = self.reasons.is_empty() || self.reasons.contains(&reason);
        let before = condition(before, self.condition);
        let same = |key: &str| before.is_some_and(|before| before[key] == after[key]);
        let news = !(same("status") && same("reason"));
        let bad = after["status"] == "False" && ours && news;
        bad.then(|| after["message"].as_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(before: &Value, after: &Value) -> Vec<(Reason, String)> {
        let object = StatusRef {
            kind: StatusKind::Provider,
            id: crate::world::ObjectRef::new("shop", "openai"),
        };
        let notes = notes(&object, "u1", before, after);
        notes.into_iter().map(|n| (n.reason, n.text)).collect()
    }

    fn condition(name: &str, status: &str, reason: &str) -> Value {
        json!({ "conditions": [{ "type": name, "status": status, "reason": reason, "message": "why" }] })
    }

    #[test]
    fn what_turns_bad_is_told_once() {
        for (name, reason, expected) in [
            ("Accepted", "Conflicted", Reason::Conflicted),
            ("Accepted", "Invalid", Reason::NotAccepted),
            ("ResolvedRefs", "SecretNotFound", Reason::UnresolvedRefs),
            (
                "CredentialsReady",
                "Rejected401",
                Reason::CredentialRejected,
            ),
            ("Programmed", "Rejected", Reason::Rejected),
        ] {
            let (good, bad) = (
                condition(name, "True", name),
                condition(name, "False", reason),
            );
            let expected = vec![(expected, "why".to_owned())];
            assert_eq!(told(&good, &bad), expected, "{name} {reason}");
            assert_eq!(
                told(&Value::Null, &bad),
                expected,
                "{name} {reason} at once"
            );
            assert_eq!(told(&bad, &bad), [], "{name} {reason} again");
        }
    }

    #[test]
    fn of_what_follows_from_one_another_the_first_is_told() {
        let condition = |name: &str| json!({ "type": name, "status": "False", "reason": "Rejected", "message": name });
        let bad = json!({ "conditions": [condition("Programmed"), condition("Accepted")] });
        assert_eq!(
            told(&Value::Null, &bad),
            [(Reason::NotAccepted, "Accepted".to_owned())]
        );
    }

    #[test]
    fn waiting_for_sidecars_is_no_event() {
        let pending = condition("Programmed", "False", "Pending");
        assert_eq!(
            told(&condition("Programmed", "True", "Programmed"), &pending),
            []
        );
    }

    #[test]
    fn a_rotation_is_told_by_hashes_and_a_first_key_is_not() {
        let key = |hash: &str| json!({ "credential": { "hash8": hash } });
        let rotated = told(&key("aaaaaaaa"), &key("bbbbbbbb"));
        assert_eq!(rotated.len(), 1, "{rotated:?}");
        assert_eq!(rotated[0].0, Reason::CredentialRotated);
        assert_eq!(told(&Value::Null, &key("bbbbbbbb")), []);
        assert_eq!(told(&key("bbbbbbbb"), &key("bbbbbbbb")), []);
    }
}
