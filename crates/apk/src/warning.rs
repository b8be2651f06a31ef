//! What is valid in a package, but will surprise its users.

use std::fmt;

use crate::{entry::IndexEntry, text::Excerpt};

/// The maximum number of warnings about one package: its `provides` may have thousands of tokens.
const MAX_WARNINGS: usize = 8;

/// Something about a package that its maintainer should know.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// The package's version is outside the grammar of `apk version --check`.
    Version {
        /// The version.
        version: Excerpt,
    },
    /// A version in `provides` is outside that grammar.
    Provides {
        /// The token.
        token: Excerpt,
    },
}

impl Warning {
    /// Returns what to do about it, in whole sentences.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Version { .. } => {
                "Give it a version such as 1.2.3-r0, 1.2.3_beta1-r0 or 1.2.3_p4-r0. nfpm makes these of the tags v1.2.3 \
                 and v1.2.3-beta1, which has no dot in `beta1`; and, where `git describe` says v1.2.3-4-gabcdef1, of \
                 `version: 1.2.3` with `prerelease: p4`. Leave `+…` and `version_metadata` out. With `version_schema: \
                 none` it takes a version as it stands, which must begin with a digit then, not with `v`."
            }
            Self::Provides { .. } => "Leave that version out, or make it one such as 1.2.3-r0.",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { version } => write!(
                f,
                "apk can't order the version `{version}`: to a client it is as new as all others that begin like it, \
                 so `apk upgrade` does not go from one to the other, and no dependency can name it"
            ),
            Self::Provides { token } => write!(
                f,
                "`provides` has `{token}`, whose version apk can't order: clients from 3.0 on say at each command that \
                 the indexes contain broken packages, and older ones lose it and all that stands behind it"
            ),
        }
    }
}

/// Returns what the maintainer of a listed package should know; at most eight warnings.
pub fn warnings(entry: &IndexEntry) -> Vec<Warning> {
    let version = &entry.metadata.version;
    let own = (!version.is_canonical())
        .then(|| Warning::Version { version: Excerpt::of(version.as_str().as_bytes()) });
    let provides = entry.metadata.provides.iter();
    let provides = provides.filter(|provided| provided.version_outside_grammar().is_some());
    let provides = provides
        .map(|provided| Warning::Provides { token: Excerpt::of(provided.to_string().as_bytes()) });
    own.into_iter().chain(provides).take(MAX_WARNINGS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str, provides: &str) -> Vec<Warning> {
        let entry = format!(
            "C:Q1DNWZeWkviN7MJedLpYM8yBvmnGM=\nP:a\nV:{version}\nA:x86_64\nS:1\nI:1\nT:\nU:\nL:\np:{provides}\n\n"
        );
        warnings(&entry.parse().unwrap())
    }

    #[test]
    fn a_version_that_apk_can_not_order_is_warned_of() {
        assert_eq!(of("1.2.3_beta1-r0", "so:a=1 cmd:a"), []);
        for version in ["1.2.3_beta.1-r0", "1.2.3_4-gabcdef1-r0", "2.1-20231117-r10", "2024-01-01"]
        {
            let [warning @ Warning::Version { .. }] = &*of(version, "") else {
                panic!("{version}")
            };
            assert!(warning.to_string().contains(version), "{warning}");
        }
        let [Warning::Provides { token }] = &*of("1-r0", "cmd:a=1 cmd:b=1~x86_64") else {
            panic!()
        };
        assert_eq!(token.to_string(), "cmd:b=1~x86_64");
        assert_eq!(of("1-r0", &"cmd:b=x ".repeat(20)).len(), MAX_WARNINGS);
    }
}
