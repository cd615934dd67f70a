//! Who may use a service.

use std::fmt;

/// Who may use a service. Its `Debug` text hides the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Access {
    /// Whoever knows its name.
    Open,
    /// Whoever knows this password too.
    Password(String),
}

impl Access {
    /// Whether a dialler that sent `password` may use the service. Browsers lower the case of host
    /// names, so the case does not count.
    #[must_use]
    pub fn allows(&self, password: Option<&str>) -> bool {
        match self {
            Self::Open => true,
            Self::Password(wanted) => password.is_some_and(|it| it.eq_ignore_ascii_case(wanted)),
        }
    }

    /// The password, where one is wanted.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        match self {
            Self::Open => None,
            Self::Password(password) => Some(password),
        }
    }

    /// Whether a dialler has to send a password.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        matches!(self, Self::Password(_))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Password(_) => "Password(MASKED)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_case_of_a_password_does_not_count_and_an_open_service_needs_none() {
        let access = Access::Password("Sesame".into());
        assert!(access.allows(Some("sesame")) && !access.allows(Some("sesam")) && !access.allows(None));
        assert!(Access::Open.allows(None) && Access::Open.allows(Some("x")));
    }

    #[test]
    fn the_debug_text_hides_the_password() {
        assert_eq!(format!("{:?}", Access::Password("Sesame".into())), "Password(MASKED)");
    }
}
