//! Names as Kubernetes makes them: `v1-7d4b9c6f5-abcde`.

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::RngExt;

/// Letters and digits that Kubernetes uses: none that look alike, and no vowels that could form words.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Nine letters that stand for a pod template; equal templates give equal hashes, also in the next run.
pub fn template_hash(template: &serde_json::Value) -> String {
    let mut rest = hash(&template.to_string());
    let mut letter = || {
        let letter = ALPHABET[(rest % 27) as usize];
        rest /= 27;
        char::from(letter)
    };
    (0..9).map(|_| letter()).collect()
}

/// Five random letters.
pub fn suffix() -> String {
    let mut random = rand::rng();
    (0..5).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}

/// A UUID that depends on `seed` alone.
pub fn uid(seed: &str) -> String {
    let (high, low) = (hash(seed), hash(&format!("{seed}/")));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_hash_follows_the_template_alone() {
        let a = template_hash(&json!({"spec": {"containers": [{"image": "a"}]}}));
        assert_eq!(a, template_hash(&json!({"spec": {"containers": [{"image": "a"}]}})));
        assert_ne!(a, template_hash(&json!({"spec": {"containers": [{"image": "b"}]}})));
        assert_eq!(a.len(), 9);
    }

    #[test]
    fn a_uid_has_the_form_of_a_uuid() {
        let uid = uid("pod/shop/v1");
        let lengths: Vec<usize> = uid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uid, super::uid("pod/shop/v1"));
    }
}
