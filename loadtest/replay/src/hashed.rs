//! Signs tokens with a hash of their content instead of Ed25519.
//!
//! Functions read, parse and check tokens as usual; only the signature is cheap. With Ed25519, a run of millions of
//! requests would spend most of its time on signatures.

use std::sync::OnceLock;

use crate::chance::{key_of, keyed};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::Error;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use signature::{Error as SignatureError, Signer, Verifier};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

static INSTALLED: OnceLock<bool> = OnceLock::new();

/// From now on, all tokens of this program are signed with hashes. Call this before any key is made; returns
/// whether no key was made before.
pub fn install() -> bool {
    *INSTALLED.get_or_init(|| PROVIDER.install_default().is_ok())
}

fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Ok(Box::new(Hash))
}

fn verifier(_: &Algorithm, _: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    Ok(Box::new(Hash))
}

struct Hash;

/// A hash of the message, as long as an Ed25519 signature (64 bytes).
fn hash(message: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(message);
    let key = key_of(&text);
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
        if *signature == hash(message) {
            Ok(())
        } else {
            Err(SignatureError::new())
        }
    }
}

impl JwtVerifier for Hash {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
