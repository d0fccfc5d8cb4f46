//! A picture in SVG, written by hand: shapes and texts at places, and the colours of all plots. Pure; what is
//! drawn where is not known here.
//!
//! It stands on a card of its own, which is light or, where the reader asks for that, dark; the colours of the
//! series (Okabe and Ito's, which colour-blind readers can tell apart) are seen on both.

use std::fmt::Write as _;

/// Of the series, in their order.
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c8c8c", "#b3a000",
];

/// What the width of a letter is at most likely to be, as a share of the text's height.
const LETTER_WIDTH: f64 = 0.56;

/// The height of ordinary text.
pub(crate) const TEXT: f64 = 13.0;

/// The colour of a series.
pub(crate) fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// How wide a text of ordinary height will about be.
pub(crate) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * TEXT * LETTER_WIDTH
}

/// Where a text stands relative to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture being drawn.
#[derive(Debug)]
pub(crate) struct Picture {
    width: f64,
    height: f64,
    title: String,
    body: String,
}

impl Picture {
    pub(crate) fn new(width: f64, height: f64, title: &str) -> Self {
        Self {
            width,
            height,
            title: title.to_owned(),
            body: String::new(),
        }
    }

    /// Writing to a string cannot fail.
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    pub(crate) fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    /// Read from below to above, its middle at the place.
    pub(crate) fn upright(&mut self, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.add(format_args!(
            r#"<text transform="translate({x:.1} {y:.1}) rotate(-90)" text-anchor="middle" class="unit">{text}</text>"#
        ));
    }

    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    pub(crate) fn bar(&mut self, at: (f64, f64), size: (f64, f64), colour: &str, opacity: f64) {
        let ((x, y), (width, height)) = (at, size);
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" fill-opacity="{opacity:.2}"/>"#
        ));
    }

    pub(crate) fn dot(&mut self, at: (f64, f64), colour: &str) {
        let (x, y) = at;
        self.add(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#
        ));
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], colour: &str, is_dashed: bool) {
        let mut text = String::new();
        for (x, y) in points {
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        let dashes = if is_dashed {
            r#" stroke-dasharray="6 4""#
        } else {
            ""
        };
        let points = text.trim_end();
        self.add(format_args!(
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"{dashes}/>"#
        ));
    }

    /// A square of a series' colour with its name; the width that both take.
    pub(crate) fn legend(&mut self, x: f64, y: f64, colour: &str, text: &str) -> f64 {
        self.bar((x, y - 10.0), (12.0, 12.0), colour, 1.0);
        self.text(x + 18.0, y, Anchor::Start, "", text);
        18.0 + width_of(text) + 20.0
    }

    /// The whole file.
    pub(crate) fn finish(self) -> String {
        let (width, height, title) = (self.width, self.height, escaped(&self.title));
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="{TEXT}">
<title>{title}</title>
<style>
.card {{ fill: #ffffff; stroke: #d0d0d0; }}
text {{ fill: #202020; }}
.unit, .tick {{ fill: #5c5c5c; font-size: 12px; }}
.title {{ font-size: 15px; font-weight: 600; }}
.axis {{ stroke: #707070; }}
.grid {{ stroke: #e4e4e4; }}
.whisker {{ stroke: #202020; stroke-width: 1.5; }}
@media (prefers-color-scheme: dark) {{
.card {{ fill: #181a1f; stroke: #3a3d44; }}
text {{ fill: #e8e8e8; }}
.unit, .tick {{ fill: #a8a8a8; }}
.axis {{ stroke: #909090; }}
.grid {{ stroke: #33363d; }}
.whisker {{ stroke: #f0f0f0; }}
}}
</style>
<rect x="0.5" y="0.5" width="{:.1}" height="{:.1}" rx="8" class="card"/>
{}</svg>
"#,
            width - 1.0,
            height - 1.0,
            self.body
        )
    }
}

/// A text that cannot end its element or attribute; what XML has no room for becomes a space.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            _ if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            _ => out.push(letter),
        }
    }
    out
}

/// Whether every element that is opened is closed in turn, attributes are quoted, and texts hold no bare sign:
/// as much of XML's rules as these pictures can break.
#[cfg(test)]
pub(super) fn fault(text: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let between = &rest[..at];
        if open.is_empty() && !between.trim().is_empty() {
            return Some(format!("text outside: {between:?}"));
        }
        if between.contains('>') || has_bare_ampersand(between) {
            return Some(format!("a bare sign: {between:?}"));
        }
        let end = rest[at..].find('>')? + at;
        let tag = &rest[at + 1..end];
        if !tag.matches('"').count().is_multiple_of(2)
            || has_bare_ampersand(tag)
            || tag.contains('<')
        {
            return Some(format!("a broken tag: {tag:?}"));
        }
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap_or_default();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => {
                return Some(format!("closed in vain: {name}"));
            }
            (true, _) | (false, true) => {}
            (false, false) => open.push(name),
        }
        rest = &rest[end + 1..];
    }
    (!open.is_empty() || !rest.trim().is_empty()).then(|| format!("left open: {open:?} {rest:?}"))
}

#[cfg(test)]
fn has_bare_ampersand(text: &str) -> bool {
    let known = ["amp;", "lt;", "gt;", "quot;"];
    let is_bare = |part: &str| !known.iter().any(|entity| part.starts_with(entity));
    text.split('&').skip(1).any(is_bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_well_formed_whatever_its_texts_are() {
        let mut picture = Picture::new(200.0, 100.0, "a <b> & \"c\"");
        picture.text(1.0, 2.0, Anchor::End, "tick", "</text>&amp;\u{0}");
        picture.upright(1.0, 2.0, "µs & more");
        picture.line((0.0, 0.0), (1.0, 1.0), "axis");
        picture.path(&[(0.0, 0.0), (1.0, 1.0)], colour(9), true);
        picture.dot((0.0, 0.0), colour(1));
        picture.legend(0.0, 0.0, colour(2), "x<y");
        assert_eq!(fault(&picture.finish()), None);
    }

    #[test]
    fn what_is_not_well_formed_is_found() {
        for text in [
            "<a>",
            "<a></b>",
            "<a x=\"1></a>",
            "<a>x & y</a>",
            "<a>&nbsp;</a>",
            "<a>x > y</a>",
            "<a/>x",
            "x<a/>",
        ] {
            assert!(fault(text).is_some(), "{text}");
        }
        assert_eq!(fault("<a x=\"1\"><b/>&amp;</a>\n"), None);
    }
}
