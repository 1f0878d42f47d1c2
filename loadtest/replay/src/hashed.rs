//! Signs tokens with a hash of their content instead of Ed25519.
//!
//! Functions read, parse and check tokens as usual; only the signature is cheap. With Ed25519, a run of millions of
//! requests would spend most of its time on signatures.

use std::sync::OnceLock;

use crate::chance::{key_of, keyed};
use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use signature::{Error as SignatureError, Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Ok(Box::new(Hash)),
    verifier_factory: |_, _| Ok(Box::new(Hash)),
    key_utils: KeyUtils::new_unimplemented(),
};

static INSTALLED: OnceLock<bool> = OnceLock::new();

/// From now on, all tokens of this program are signed with hashes. Call this before any key is made; returns
/// whether no key was made before.
pub fn install() -> bool {
    *INSTALLED.get_or_init(|| PROVIDER.install_default().is_ok())
}

struct Hash;

/// A hash of the message, as long as an Ed25519 signature (64 bytes).
fn hash(message: &[u8]) -> Vec<u8> {
    let key = key_of(&String::from_utf8_lossy(message));
    (0..8)
        .flat_map(|nth| keyed(0x51b7, key, nth).to_le_bytes())
        .collect()
}

impl Signer<Vec<u8>> for Hash {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(hash(message))
    }
}

impl JwtSigner for Hash {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

impl Verifier<Vec<u8>> for Hash {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let valid = *signature == hash(message);
        valid.then_some(()).ok_or_else(SignatureError::new)
    }
}

impl JwtVerifier for Hash {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
