//! Text that came from elsewhere, made safe to stand in HTML.

use std::fmt;

use serde::Serialize;

/// Writes text so that it means itself in HTML, also within quoted attributes.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // A control character is no character of HTML.
            c if c.is_control() && c != '\n' => f.write_str("\u{FFFD}"),
            c => f.write_fmt(format_args!("{c}")),
        })
    }
}

/// JSON for a `script` element: no `<` in it can end the element or begin a comment.
pub(crate) fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    text.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_markup_is_text() {
        assert_eq!(Escaped("<b a=\"x\" c='y'>&\u{1b}").to_string(), "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;\u{FFFD}");
    }

    #[test]
    fn json_cannot_end_its_element() {
        assert_eq!(json(&"</script><!--"), r#""\u003c/script>\u003c!--""#);
    }
}
