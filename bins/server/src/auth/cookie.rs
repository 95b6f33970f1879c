//! The cookie of browsers. `__Host-` makes browsers insist on Secure, Path=/ and no Domain, so no other host and no plain
//! connection can set it; SameSite=Strict keeps it from being sent along from other sites (P21).

use super::secret::Secret;

const NAME: &str = "__Host-sluice";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

/// The secret in a `Cookie` header. Several cookies of this name are none: somebody else set one of them.
pub(crate) fn read(header: &str) -> Option<Secret> {
    let ours = |pair: &str| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME).then(|| value.to_owned())
    };
    let mut values = header.split(';').filter_map(ours);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    Secret::parse(&value)
}

/// The `Set-Cookie` header that hands out a secret for so many seconds.
pub(crate) fn set(secret: &Secret, seconds: i64) -> String {
    format!("{NAME}={}; {ATTRIBUTES}; Max-Age={seconds}", secret.text())
}

/// The `Set-Cookie` header that takes it back.
pub(crate) fn clear() -> String {
    format!("{NAME}=; {ATTRIBUTES}; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_doubt_means_none() {
        let secret = Secret::random().unwrap();
        let text = secret.text();
        for (header, found) in [
            (format!("__Host-sluice={text}"), true),
            (format!("a=b; __Host-sluice={text}; c"), true),
            (format!("__Host-sluice={text}; __Host-sluice={text}"), false),
            (format!("sluice={text}"), false),
            (format!("__host-sluice={text}"), false),
            ("__Host-sluice=slu_x".to_owned(), false),
            (String::new(), false),
        ] {
            let read = read(&header).map(|read| read.hash());
            assert_eq!(read, found.then(|| secret.hash()), "{header}");
        }
    }

    #[test]
    fn browsers_are_told_everything_that_protects_it() {
        let header = set(&Secret::random().unwrap(), 60);
        assert!(header.starts_with("__Host-sluice=slu_"));
        assert!(header.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=60"), "{header}");
        assert!(!header.contains("Domain"));
        assert_eq!(clear(), "__Host-sluice=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    }
}
