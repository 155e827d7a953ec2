use serde_json::{Map, Value};

/// Merges what we and others made of `base`: what only one side changed is as that side left it. Maps are merged by their members, and lists by
/// their elements, so that what either side added is there and what either removed is not. What else both changed is as we left it, as
/// we are later.
pub(super) fn merge_maps(
    base: &Map<String, Value>,
    ours: &Map<String, Value>,
    theirs: &Map<String, Value>,
) -> Map<String, Value> {
    let mut names: Vec<_> = theirs.keys().chain(ours.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let merged = names.into_iter().filter_map(|name| {
        let value = merge(base.get(name), ours.get(name), theirs.get(name))?;
        Some((name.clone(), value))
    });
    merged.collect()
}

fn merge(base: Option<&Value>, ours: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    if ours == base {
        return theirs.cloned();
    }
    if theirs == base {
        return ours.cloned();
    }
    match (base, ours, theirs) {
        (base, Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let none = Map::new();
            let base = base.and_then(Value::as_object).unwrap_or(&none);
            Some(Value::Object(merge_maps(base, ours, theirs)))
        }
        (base, Some(Value::Array(ours)), Some(Value::Array(theirs))) => {
            let base = base.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            Some(Value::Array(merge_lists(base, ours, theirs)))
        }
        (_, ours, _) => ours.cloned(),
    }
}

/// Theirs, without what we removed, and what we added behind it.
fn merge_lists(base: &[Value], ours: &[Value], theirs: &[Value]) -> Vec<Value> {
    let mut merged = theirs.to_vec();
    for removed in without(base, ours) {
        if let Some(place) = merged.iter().position(|value| *value == removed) {
            merged.remove(place);
        }
    }
    merged.extend(without(ours, base));
    merged
}

/// The elements of `all` without those of `some`, each as often as it is left.
fn without(all: &[Value], some: &[Value]) -> Vec<Value> {
    let mut some: Vec<_> = some.iter().collect();
    let left = all.iter().filter(|value| {
        let found = some.iter().position(|other| other == value);
        found.map(|place| some.swap_remove(place)).is_none()
    });
    left.cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(base: Value, ours: Value, theirs: Value, merged: Value) {
        let map = |value: &Value| value.as_object().unwrap().clone();
        let result = merge_maps(&map(&base), &map(&ours), &map(&theirs));
        assert_eq!(Value::Object(result), merged, "{base} {ours} {theirs}");
    }

    #[test]
    fn what_one_side_changed_is_kept() {
        let base = json!({"a": 1, "b": 2, "c": 3});
        check(
            base.clone(),
            json!({"a": 9, "b": 2, "d": 4}),
            json!({"a": 1, "c": 3, "e": 5}),
            json!({"a": 9, "d": 4, "e": 5}),
        );
        check(base.clone(), base.clone(), json!({}), json!({}));
        check(base.clone(), json!({}), base, json!({}));
    }

    #[test]
    fn lists_and_maps_are_merged_inside() {
        check(
            json!({"cart": ["lamp"], "prefs": {"lang": "en"}}),
            json!({"cart": ["lamp", "chair"], "prefs": {"lang": "en", "dark": true}}),
            json!({"cart": ["lamp", "table"], "prefs": {"lang": "de"}}),
            json!({"cart": ["lamp", "table", "chair"], "prefs": {"lang": "de", "dark": true}}),
        );
        check(
            json!({"cart": ["lamp", "lamp", "chair"]}),
            json!({"cart": ["lamp", "chair"]}),
            json!({"cart": ["lamp", "lamp", "chair", "bed"]}),
            json!({"cart": ["lamp", "chair", "bed"]}),
        );
        // Both added the first.
        check(
            json!({}),
            json!({"cart": ["lamp"]}),
            json!({"cart": ["chair"]}),
            json!({"cart": ["chair", "lamp"]}),
        );
        check(
            json!({}),
            json!({"cart": ["lamp"]}),
            json!({"cart": ["lamp"]}),
            json!({"cart": ["lamp", "lamp"]}),
        );
    }

    #[test]
    fn of_what_cannot_be_merged_the_later_is_kept() {
        check(
            json!({"lang": "en"}),
            json!({"lang": "de"}),
            json!({"lang": "fr"}),
            json!({"lang": "de"}),
        );
        check(json!({"lang": "en"}), json!({}), json!({"lang": "fr"}), json!({}));
        check(
            json!({"lang": "en"}),
            json!({"lang": "de"}),
            json!({}),
            json!({"lang": "de"}),
        );
        check(
            json!({"x": [1]}),
            json!({"x": {"a": 1}}),
            json!({"x": [1, 2]}),
            json!({"x": {"a": 1}}),
        );
    }
}
