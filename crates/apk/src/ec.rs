//! ECDSA on P-256 and P-384, over SHA-512 digests: what v3 signatures by EC keys are.

use ecdsa::{
    Signature, SignatureSize,
    elliptic_curve::{
        CurveArithmetic, FieldBytes, PrimeCurve, Scalar, SecretKey,
        ff::{Field as _, PrimeField as _},
        generic_array::ArrayLength,
        ops::{Invert, Reduce},
        subtle::CtOption,
    },
    hazmat::{SignPrimitive, bits2field},
};
use rfc6979::HmacDrbg;
use rsa::pkcs8::ObjectIdentifier;
use sha2_of_digest_010::Sha512;

use crate::key_error::KeyError;

/// The identifier of an EC key, id-ecPublicKey (RFC 5480, 2.1.1).
pub(crate) const ALGORITHM: ObjectIdentifier = ecdsa::elliptic_curve::ALGORITHM_OID;

/// What a curve is called that a key describes by numbers, or does not mention at all.
pub(crate) const UNNAMED: &str = "a curve without a name";

/// A curve on which keys are supported.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// Returns the curve with this identifier, if it is supported.
    ///
    /// # Errors
    ///
    /// [`KeyError::Curve`], for any other curve, and if none is named.
    pub(crate) fn of(identifier: Option<ObjectIdentifier>) -> Result<Self, KeyError> {
        // RFC 5480, 2.1.1.1; SEC 2, A.2; RFC 5639, 4.1.
        const OTHERS: [(&str, &str); 9] = [
            ("1.2.840.10045.3.1.1", "P-192"),
            ("1.3.132.0.33", "P-224"),
            ("1.3.132.0.32", "secp224k1"),
            ("1.3.132.0.35", "P-521"),
            ("1.3.132.0.10", "secp256k1"),
            ("1.3.36.3.3.2.8.1.1.7", "brainpoolP256r1"),
            ("1.3.36.3.3.2.8.1.1.11", "brainpoolP384r1"),
            ("1.3.36.3.3.2.8.1.1.13", "brainpoolP512r1"),
            ("1.2.156.10197.1.301", "SM2"),
        ];
        let Some(identifier) = identifier else {
            return Err(KeyError::Curve { curve: UNNAMED });
        };
        match identifier.to_string().as_str() {
            "1.2.840.10045.3.1.7" => Ok(Self::P256),
            "1.3.132.0.34" => Ok(Self::P384),
            identifier => {
                let named = OTHERS.iter().find(|(known, _)| *known == identifier);
                Err(KeyError::Curve { curve: named.map_or("another curve", |(_, name)| name) })
            }
        }
    }
}

/// Signs a SHA-512 digest. The nonce follows from key and digest (RFC 6979, with HMAC-SHA-512), so
/// that a signature can be reproduced. ECDSA uses as many leading bits of the digest as the order
/// of the curve has (FIPS 186-5, 6.4.1).
///
/// The `ecdsa` crate has this, but only with a hash as long as the order.
pub(crate) fn sign<C>(key: &SecretKey<C>, sha512: &[u8; 64]) -> Result<Signature<C>, ecdsa::Error>
where
    C: PrimeCurve + CurveArithmetic,
    Scalar<C>: SignPrimitive<C> + Invert<Output = CtOption<Scalar<C>>>,
    SignatureSize<C>: ArrayLength<u8>,
{
    let secret = key.to_nonzero_scalar();
    let digest = bits2field::<C>(sha512)?;
    let reduced = <Scalar<C> as Reduce<C::Uint>>::reduce_bytes(&digest);
    let mut nonces = HmacDrbg::<Sha512>::new(&secret.to_repr(), &reduced.to_repr(), &[]);
    loop {
        let mut nonce = FieldBytes::<C>::default();
        nonces.fill_bytes(&mut nonce);
        // Nearly always the first: the chance that one of P-256 is out of range is 2^-32.
        let nonce = Option::<Scalar<C>>::from(Scalar::<C>::from_repr(nonce));
        if let Some(nonce) = nonce.filter(|nonce| !bool::from(nonce.is_zero())) {
            return secret.try_sign_prehashed(nonce, &digest).map(|(signature, _)| signature);
        }
    }
}
