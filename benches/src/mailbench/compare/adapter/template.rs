//! Templates: text in which `{name}` stands for a value. Pure.
//!
//! A brace that is not the first of `{name}` stands for itself, since the servers' own languages are full of
//! them; a name that has no value is an error. There are no conditions and no loops here: what depends
//! on a setting is a fragment, chosen before.

use std::collections::BTreeMap;

/// Names and what they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(BTreeMap<String, String>);

impl Values {
    pub(super) fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// The text with each placeholder replaced; what is put in is not looked at again.
    pub(super) fn render(&self, template: &str) -> Result<String, String> {
        let mut rendered = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            rendered.push_str(&rest[..at]);
            rest = &rest[at..];
            match name_in_braces(rest) {
                Some(name) => {
                    let value = self.0.get(name);
                    rendered
                        .push_str(value.ok_or_else(|| format!("unknown placeholder {{{name}}}"))?);
                    rest = &rest[name.len() + 2..];
                }
                None => {
                    rendered.push('{');
                    rest = &rest[1..];
                }
            }
        }
        rendered.push_str(rest);
        Ok(rendered)
    }

    /// Each word of a command.
    pub(super) fn render_all(&self, words: &[String]) -> Result<Vec<String>, String> {
        words.iter().map(|word| self.render(word)).collect()
    }
}

/// `name` where the text begins with `{name}`.
fn name_in_braces(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.split('}').next()?;
    let is_name = name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && text.len() > name.len() + 1;
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_other_braces() {
        let mut values = Values::default();
        values.set("dir", "/d");
        values.set("port", 25);
        values.set("odd", "{port}");
        for (template, expected) in [
            ("", Ok("")),
            ("no braces", Ok("no braces")),
            ("{dir}/queue:{port}", Ok("/d/queue:25")),
            ("{dir}{dir}", Ok("/d/d")),
            ("{odd}", Ok("{port}")),
            (
                "function () { return {}; }",
                Ok("function () { return {}; }"),
            ),
            ("${if eq{$x}{}{1}} {dir}", Ok("${if eq{$x}{}{1}} /d")),
            ("{{dir}}", Ok("{/d}")),
            ("{Dir} {2} { dir }", Ok("{Dir} {2} { dir }")),
            ("{dir", Ok("{dir")),
            ("{", Ok("{")),
            ("a {what} b", Err("unknown placeholder {what}")),
        ] {
            let rendered = values.render(template);
            let rendered = rendered.as_deref().map_err(String::as_str);
            assert_eq!(rendered, expected, "{template}");
        }
    }
}
