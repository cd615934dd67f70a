//! The licences, for people.

use std::fmt::Write as _;

use super::Part;

/// Its name in the archives.
pub(super) const FILE: &str = "THIRD-PARTY-LICENSES.txt";

/// Every part with its licence, and every text once.
pub(super) fn text(parts: &[Part]) -> String {
    let mut texts: Vec<&str> = Vec::new();
    let mut list = String::new();
    for part in parts.iter().filter(|part| !part.is_own()) {
        let mut numbers = Vec::new();
        for text in &part.texts {
            let text = text.trim();
            let at = texts.iter().position(|known| *known == text).unwrap_or_else(|| {
                texts.push(text);
                texts.len() - 1
            });
            numbers.push(format!("{}", at + 1));
        }
        let _ = writeln!(list, "{} {}: {} [{}]", part.name, part.version, part.licence, numbers.join(", "));
    }
    let mut all = format!(
        "Hardline itself is licensed under MIT or Apache-2.0, at your option. The program contains these works of others.\n\
         The numbers in brackets lead to the texts below.\n\n{list}"
    );
    for (number, text) in (1..).zip(texts) {
        let _ = write!(all, "\n==== {number} ====\n\n{text}\n");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, texts: &[&str]) -> Part {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Part { name: name.into(), version: "1.0.0".into(), licence: "MIT".into(), texts, ..Part::default() }
    }

    #[test]
    fn a_text_that_several_share_stands_there_once() {
        let all = text(&[part("a", &["one", "two\n"]), part("b", &["two"]), part("hardline", &[])]);
        assert!(all.contains("\na 1.0.0: MIT [1, 2]\nb 1.0.0: MIT [2]\n\n==== 1 ====\n\none\n"), "{all}");
        assert_eq!(all.matches("two").count(), 1);
        assert!(!all.contains("hardline 1.0.0"), "{all}");
    }
}
