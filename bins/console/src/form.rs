//! Forms as views of documents: a field's name is the JSON pointer of its value. So a document fills a form, a form makes a
//! document, and what the API says of a pointer stands beside the field that it is about.

use askama::Template;
use askama::filters::HtmlSafe;
use serde_json::{Map, Value};
use sluice_api::Problem;

use crate::posted::Posted;

/// How a value is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line of text; empty: absent.
    Text,
    /// Lines of text; empty: absent.
    Area,
    /// A number; empty: absent. What is none is sent as it is, for the API to say so.
    Number,
    /// A password.
    Secret,
    /// Yes or no.
    Flag,
    /// One of these: values and words.
    Choice(Vec<(String, String)>),
    /// A list, one line each.
    Lines,
    /// A list, of these names.
    Names(Vec<String>),
    /// A list of words with commas.
    Words,
}

/// A value of a document that people type.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "field.html")]
pub(crate) struct Field {
    pub(crate) pointer: String,
    pub(crate) label: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) input: Input,
    pub(crate) required: bool,
    pub(crate) values: Vec<String>,
    pub(crate) error: Option<String>,
    /// For browsers that fill in forms.
    pub(crate) autocomplete: &'static str,
    /// Which of several forms with such a field on a page; empty: the only one.
    pub(crate) scope: String,
}

impl HtmlSafe for Field {}

impl Field {
    pub(crate) fn new(pointer: impl Into<String>, label: &'static str, input: Input) -> Field {
        Field {
            pointer: pointer.into(),
            label,
            hint: "",
            input,
            required: false,
            values: Vec::new(),
            error: None,
            autocomplete: "off",
            scope: String::new(),
        }
    }

    pub(crate) fn text(pointer: &str, label: &'static str) -> Field {
        Field::new(pointer, label, Input::Text)
    }

    pub(crate) fn hint(self, hint: &'static str) -> Field {
        Field { hint, ..self }
    }

    pub(crate) fn required(self) -> Field {
        Field { required: true, ..self }
    }

    pub(crate) fn autocomplete(self, autocomplete: &'static str) -> Field {
        Field { autocomplete, ..self }
    }

    /// What stands in it.
    pub(crate) fn value(&self) -> &str {
        self.values.first().map_or("", String::as_str)
    }

    /// Whether it is a flag that is set, or has this among its values.
    pub(crate) fn has(&self, value: &str) -> bool {
        self.values.iter().any(|known| known == value)
    }

    fn is_number(&self) -> bool {
        self.input == Input::Number
    }

    /// Values that are not among the names that can be chosen: gone since, or typed.
    pub(crate) fn strangers(&self) -> Vec<&str> {
        match &self.input {
            Input::Names(names) => self
                .values
                .iter()
                .map(String::as_str)
                .filter(|value| !names.iter().any(|name| name == value))
                .collect(),
            Input::Text
            | Input::Area
            | Input::Number
            | Input::Secret
            | Input::Flag
            | Input::Choice(_)
            | Input::Lines
            | Input::Words => Vec::new(),
        }
    }

    /// An identity for labels: pointers have characters that identities should not have.
    pub(crate) fn id(&self) -> String {
        let own = self.pointer.trim_start_matches('/').replace(['/', '~'], "-");
        if self.scope.is_empty() { own } else { format!("{}-{own}", self.scope) }
    }

    /// Takes what was typed.
    pub(crate) fn take(&mut self, posted: &Posted) {
        self.values = posted.all(&self.pointer).map(str::to_owned).collect();
    }

    /// Takes what a document has.
    pub(crate) fn fill(&mut self, document: &Value) {
        let Some(value) = document.pointer(&self.pointer) else {
            self.values.clear();
            return;
        };
        self.values = match (&self.input, value) {
            (Input::Names(_), Value::Array(items)) => items.iter().map(text_of).collect(),
            (Input::Lines, Value::Array(items)) => {
                vec![items.iter().map(text_of).collect::<Vec<_>>().join("\n")]
            }
            (Input::Words, Value::Array(items)) => {
                vec![items.iter().map(text_of).collect::<Vec<_>>().join(", ")]
            }
            (Input::Flag, Value::Bool(true)) => vec!["true".to_owned()],
            (Input::Flag, _) => Vec::new(),
            (
                Input::Text
                | Input::Area
                | Input::Number
                | Input::Secret
                | Input::Choice(_)
                | Input::Lines
                | Input::Names(_)
                | Input::Words,
                value,
            ) => vec![text_of(value)],
        };
    }

    /// What it says, as a document has it; `None`: nothing.
    fn document(&self) -> Option<Value> {
        let typed = self.value().trim();
        let list = |items: Vec<&str>| {
            let items: Vec<Value> =
                items.into_iter().map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect();
            (!items.is_empty()).then_some(Value::Array(items))
        };
        match &self.input {
            Input::Secret => Some(Value::from(self.value())),
            Input::Flag => Some(Value::from(self.has("true"))),
            Input::Lines => list(typed.lines().collect()),
            Input::Words => list(typed.split(',').collect()),
            Input::Names(_) => list(self.values.iter().map(String::as_str).collect()),
            Input::Number => match typed.parse::<u64>() {
                Ok(number) => Some(Value::from(number)),
                Err(_) => (!typed.is_empty()).then(|| Value::from(typed)),
            },
            Input::Text | Input::Area | Input::Choice(_) if typed.is_empty() && self.required => {
                Some(Value::from(""))
            }
            Input::Text | Input::Area | Input::Choice(_) => (!typed.is_empty()).then(|| Value::from(typed)),
        }
    }

    /// Whether a pointer is about this field, or about something in it.
    fn is_about(&self, pointer: &str) -> bool {
        pointer
            .strip_prefix(self.pointer.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Some fields, and what is wrong with all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) fields: Vec<Field>,
    /// What is wrong that no field is about.
    pub(crate) error: Option<String>,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

impl Form {
    pub(crate) fn of(fields: Vec<Field>) -> Form {
        Form { fields, error: None, remedy: None }
    }

    /// As it was typed.
    pub(crate) fn posted(mut self, posted: &Posted) -> Form {
        self.fields.iter_mut().for_each(|field| field.take(posted));
        self
    }

    /// As a document has it.
    pub(crate) fn filled(mut self, document: &Value) -> Form {
        self.fields.iter_mut().for_each(|field| field.fill(document));
        self
    }

    /// The document that it makes, of one that has what the form does not show.
    pub(crate) fn document(&self, mut base: Value) -> Value {
        for field in &self.fields {
            set(&mut base, &field.pointer, field.document());
        }
        base
    }

    /// With what the API says is wrong, each beside its field.
    pub(crate) fn blame(mut self, problem: &Problem) -> Form {
        let mut rest = Vec::new();
        for error in &problem.errors {
            // The nearest: `/dst/1/selector/ip` is about the row's field, not the list's.
            let about = self.fields.iter_mut().filter(|field| field.is_about(&error.pointer));
            match about.max_by_key(|field| field.pointer.len()) {
                Some(field) => {
                    let said = field.error.take().map_or_else(String::new, |before| before + "; ");
                    field.error = Some(said + &error.detail);
                }
                None if error.pointer.is_empty() => rest.push(error.detail.clone()),
                None => rest.push(format!("{}: {}", error.pointer, error.detail)),
            }
        }
        self.error = match (rest.is_empty(), problem.errors.is_empty()) {
            (false, _) => Some(rest.join("; ")),
            (true, false) => None,
            (true, true) => Some(problem.detail.clone()),
        };
        self.remedy.clone_from(&problem.remedy);
        self
    }

    /// Whether anything is wrong.
    pub(crate) fn is_wrong(&self) -> bool {
        self.error.is_some() || self.fields.iter().any(|field| field.error.is_some())
    }

    /// The field of a pointer.
    #[cfg(test)]
    fn field(&self, pointer: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.pointer == pointer)
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(range) => match (range.get("start"), range.get("end"), range.get("role")) {
            (Some(start), Some(end), _) => format!("{}-{}", text_of(start), text_of(end)),
            (_, _, Some(role)) => text_of(role),
            (Some(_) | None, None | Some(_), None) => value.to_string(),
        },
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => value.to_string(),
    }
}

/// Puts a value at a pointer, or takes away what is there; makes what it stands in.
fn set(document: &mut Value, pointer: &str, value: Option<Value>) {
    let mut place = document;
    let segments: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some((last, way)) = segments.split_last() else { return };
    for (depth, segment) in way.iter().enumerate() {
        let next_is_index = segments.get(depth + 1).is_some_and(|next| next.parse::<usize>().is_ok());
        let empty = || if next_is_index { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        // Nothing is made only to hold nothing.
        place = match (place, segment.parse::<usize>()) {
            (Value::Array(items), Ok(index))
                if index < items.len() || value.is_some() && index == items.len() && index < ROWS_MAX =>
            {
                if index == items.len() {
                    items.push(empty());
                }
                &mut items[index]
            }
            (Value::Object(map), _) if value.is_some() || map.contains_key(*segment) => {
                map.entry(*segment).or_insert_with(empty)
            }
            _ => return,
        };
    }
    match (place, value) {
        (Value::Object(map), Some(value)) => {
            map.insert((*last).to_owned(), value);
        }
        (Value::Object(map), None) => {
            map.remove(*last);
        }
        _ => {}
    }
}

/// More rows than a document may have are not made.
const ROWS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_api::FieldProblem;

    use super::*;

    fn form() -> Form {
        Form::of(vec![
            Field::text("/name", "Name").required(),
            Field::new("/tags", "Tags", Input::Words),
            Field::new("/pool", "Pool", Input::Lines),
            Field::new("/port", "Port", Input::Number),
            Field::new("/off", "Off", Input::Flag),
            Field::text("/dst/0/selector/ip", "Address"),
            Field::text("/dst/0/nat/addr", "To"),
        ])
    }

    #[test]
    fn a_document_fills_a_form_that_makes_the_same_document() {
        let document = json!({
            "name": "db", "tags": ["a", "b c"], "pool": ["10.0.0.0/8", "fd00::/8"], "port": 22, "off": true,
            "dst": [{ "selector": { "ip": "10.0.0.1" } }],
        });
        let form = form().filled(&document);
        assert_eq!(form.document(json!({})), document);
        let kept = form.document(json!({ "hidden": 7 }));
        assert_eq!(kept["hidden"], 7, "what a form does not show stays");
    }

    #[test]
    fn what_is_taken_out_of_a_form_is_taken_out_of_the_document() {
        let posted = Posted(vec![("/name".into(), " db ".into()), ("/port".into(), "x".into())]);
        let document = form().posted(&posted).document(json!({ "tags": ["old"], "off": true }));
        assert_eq!(document, json!({ "name": "db", "port": "x", "off": false }));
    }

    #[test]
    fn what_is_wrong_stands_at_the_nearest_field_and_nothing_is_lost() {
        let error =
            |pointer: &str, detail: &str| FieldProblem { pointer: pointer.into(), detail: detail.into() };
        let problem = Problem {
            kind: "about:blank".into(),
            status: 422,
            code: "invalid-document".into(),
            title: "not valid".into(),
            detail: "all of it".into(),
            remedy: None,
            check: None,
            errors: vec![
                error("/dst/0/selector/ip", "no address"),
                error("/pool/1", "no prefix"),
                error("/x", "what"),
            ],
        };
        let form = form().blame(&problem);
        assert_eq!(form.field("/dst/0/selector/ip").unwrap().error.as_deref(), Some("no address"));
        assert_eq!(form.field("/pool").unwrap().error.as_deref(), Some("no prefix"));
        assert_eq!(form.error.as_deref(), Some("/x: what"));
    }

    #[test]
    fn no_form_makes_a_document_of_endless_rows() {
        let mut document = json!({});
        set(&mut document, "/dst/99999999/selector/ip", Some(json!("10.0.0.1")));
        assert_eq!(document, json!({ "dst": [] }));
    }

    #[test]
    fn what_was_typed_is_shown_again_and_escaped() {
        for input in [Input::Text, Input::Area, Input::Words, Input::Names(vec!["a".into()])] {
            let field =
                Field { values: vec!["\"><script>x</script>".into()], ..Field::new("/name", "Name", input) };
            let text = field.to_string();
            assert!(text.contains("script") && !text.contains("<script"), "{text}");
        }
        let secret =
            Field { values: vec!["hunter2".into()], ..Field::new("/password", "Password", Input::Secret) };
        assert!(!secret.to_string().contains("hunter2"), "a password is not sent back");
    }
}
