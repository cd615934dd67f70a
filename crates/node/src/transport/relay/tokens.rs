//! `relay-tokens.json`: who may register at this relay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use hardline_proto::relay::Id;
use serde::{Deserialize, Serialize};

/// Name of the file in the data folder.
pub const FILE: &str = "relay-tokens.json";

/// Name of the token that is made at the first start.
pub const FIRST: &str = "first";

/// Most tokens of one relay.
pub const MAX_TOKENS: usize = 10_000;

/// Longest name of a token, in bytes.
pub const MAX_NAME: usize = 64;

/// Longest file, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Admits a publisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What its owner calls it.
    pub name: String,
    /// What a publisher says.
    pub secret: Id,
    /// When it was made, in seconds of Unix time.
    pub created: u64,
}

/// Why the file of tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not hold tokens.
    #[error("{} does not hold tokens", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A token has this name already.
    #[error("there is a token {0:?} already")]
    Exists(String),
    /// No token has this name.
    #[error("there is no token {0:?}")]
    Missing(String),
    /// The name is empty, too long, or has other characters than letters, digits, `.`, `-` and `_`.
    #[error("{0:?} is no name for a token: letters, digits, '.', '-' and '_', at most {MAX_NAME}")]
    Name(String),
    /// There are [`MAX_TOKENS`].
    #[error("there are {MAX_TOKENS} tokens; revoke some")]
    TooMany,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    token: String,
    created: u64,
}

/// The file of tokens. Every change is made under a lock and replaces the file as a whole, so that
/// two commands at once, or one that is killed, lose nothing.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The tokens of the relay whose data are in `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join(FILE) }
    }

    /// All tokens, the oldest first; none if there is no file.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let mut text = String::new();
        match File::open(&self.path) {
            Ok(file) => file.take(MAX_FILE).read_to_string(&mut text).map_err(|source| self.failed(source))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed(source)),
        };
        let malformed = || TokenError::Malformed { path: self.path.clone() };
        let stored: Vec<Stored> = serde_json::from_str(&text).map_err(|_| malformed())?;
        let token = |Stored { name, token, created }| Some(Token { name, secret: token.parse().ok()?, created });
        stored.into_iter().map(token).collect::<Option<_>>().ok_or_else(malformed)
    }

    /// The token that is made at the first start, or the oldest there is.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn first(&self) -> Result<Option<Token>, TokenError> {
        if !self.path.exists() {
            match self.add(FIRST) {
                Ok(_) | Err(TokenError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.list()?.into_iter().next())
    }

    /// Makes a token. Returns when it is on the disk.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn add(&self, name: &str) -> Result<Token, TokenError> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_part) {
            return Err(TokenError::Name(name.to_owned()));
        }
        self.change(|tokens| {
            if tokens.iter().any(|token| token.name == name) {
                return Err(TokenError::Exists(name.to_owned()));
            }
            if tokens.len() >= MAX_TOKENS {
                return Err(TokenError::TooMany);
            }
            let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let token = Token { name: name.to_owned(), secret: Id::from_bytes(rand::random()), created };
            tokens.push(token.clone());
            Ok(token)
        })
    }

    /// Takes a token away. Returns when that is on the disk; a running relay notices within a
    /// second.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            if tokens.len() == before { Err(TokenError::Missing(name.to_owned())) } else { Ok(()) }
        })
    }

    /// What tells one state of the file from another.
    pub(super) fn version(&self) -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| self.failed(source))?;
        let lock = self.path.with_extension("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock);
        let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|source| self.failed(source))?;
        let mut tokens = self.list()?;
        let changed = change(&mut tokens)?;
        self.write(folder, &tokens).map_err(|source| self.failed(source))?;
        drop(lock);
        Ok(changed)
    }

    /// The temporary file is readable by its owner only, and stays so.
    fn write(&self, folder: &Path, tokens: &[Token]) -> io::Result<()> {
        let stored = |token: &Token| Stored {
            name: token.name.clone(),
            token: token.secret.to_string(),
            created: token.created,
        };
        let text = serde_json::to_vec_pretty(&tokens.iter().map(stored).collect::<Vec<_>>())?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        crate::system::private::protect(file.as_file(), file.path())?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> TokenError {
        TokenError::File { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_made_once_and_others_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = TokenFile::new(&folder.path().join("new"));
        let first = tokens.first().unwrap().unwrap();
        assert_eq!((first.name.as_str(), tokens.first().unwrap()), (FIRST, Some(first.clone())));
        let bob = tokens.add("bob").unwrap();
        assert_ne!(bob.secret, first.secret);
        assert_eq!(tokens.list().unwrap(), [first, bob.clone()]);
        assert!(matches!(tokens.add("bob"), Err(TokenError::Exists(_))));
        tokens.revoke(FIRST).unwrap();
        assert!(matches!(tokens.revoke(FIRST), Err(TokenError::Missing(_))));
        assert_eq!(tokens.first().unwrap(), Some(bob), "what was revoked is not made again");
    }

    #[test]
    fn names_are_plain_words() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "a b", "ä", "../x", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(TokenFile::new(folder.path()).add(name), Err(TokenError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_file_that_holds_something_else_is_an_error_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        for text in ["", "{}", "[{\"name\":\"x\",\"token\":\"secret\",\"created\":0}]"] {
            fs::write(&path, text).unwrap();
            let error = TokenFile::new(folder.path()).add("bob").unwrap_err();
            assert!(matches!(error, TokenError::Malformed { .. }), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn of_many_commands_at_once_none_loses_another_s_token() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = TokenFile::new(folder.path());
        std::thread::scope(|scope| {
            for number in 0..16 {
                let tokens = &tokens;
                scope.spawn(move || tokens.add(&format!("n{number}")).unwrap());
            }
        });
        assert_eq!(tokens.list().unwrap().len(), 16);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        TokenFile::new(folder.path()).first().unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}
