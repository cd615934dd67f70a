//! The shell of every page we make ourselves: the gateway's and the shared folder's.
//!
//! No script, nothing loaded from elsewhere, one inline style. It follows the reader's light or
//! dark setting and reads on a phone.

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// `Content-Type` of a page.
pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// `Content-Security-Policy` that fits a page: its own style, and the empty icon. Nothing else is
/// loaded, sent or framed.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for a page whose form is sent to where the page comes from.
pub const FORM_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Lays out a page; `title` is for the browser's tab, `body` brings its own `h1`.
///
/// Plain `h1`, `h2`, `p`, `ul`, `table`, `code`, `footer` look right as they are. Classes:
/// - `muted`: of less weight, such as a size or a hint;
/// - `key`: a key hash, in digits of one width that may break anywhere;
/// - `card`: a box around what belongs together, such as one service in a list;
/// - `notice`: a box for what one should know; with `danger`, for what must not be overlooked;
/// - `number`, `date`: table cells with digits of one width; `wide`: left out on a phone.
#[must_use]
pub fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Browsers would ask for /favicon.ico otherwise.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_is_text_and_not_markup() {
        let hostile = "</title><script>alert(1)</script>";
        let page = page(hostile, &html! { p { (hostile) } }).into_string();
        assert!(!page.contains("<script"));
        assert_eq!(page.matches("&lt;script&gt;").count(), 2);
    }

    #[test]
    fn a_page_loads_nothing() {
        let page = page("title", &html! { p { "text" } }).into_string();
        for loads in ["http:", "https:", "//", "url(", "@import", "src="] {
            assert!(!page.contains(loads), "{loads}");
        }
    }

    #[test]
    fn the_style_cannot_end_its_element() {
        assert!(!STYLE.contains("</"));
    }
}
