//! Dependencies as other package managers write them, which nfpm and fpm pass on as they are
//! configured.

use crate::{
    dependency::{Dependency, DependencyError},
    text::Excerpt,
};

/// Says what is wrong with a line of dependencies, one of which was rejected: with the whole of it
/// and how apk has it, if it is one of deb or rpm.
pub(crate) fn explain(line: &str, error: DependencyError) -> DependencyError {
    let line = line.trim();
    let token = Excerpt::of(line.as_bytes());
    let alternatives: Vec<_> = line.split('|').collect();
    let spelled: Option<Vec<_>> = alternatives.iter().map(|written| spell(written)).collect();
    match spelled.as_deref() {
        Some([one]) if one != line => DependencyError::Foreign { token, apk: one.clone() },
        Some(several @ [_, _, ..]) => {
            DependencyError::Alternatives { token, apk: several.join("` or `") }
        }
        _ => error,
    }
}

/// Returns `bash>=4.4` for `bash (>= 4.4)` and for `bash >= 4.4`.
fn spell(written: &str) -> Option<String> {
    let is_operator = |c| matches!(c, '<' | '>' | '=' | '~');
    let written = written.trim();
    let (name, rest) = written.split_at(written.find([' ', '(']).unwrap_or(written.len()));
    let rest = rest.trim();
    let rest = rest.strip_prefix('(').map_or(Some(rest), |rest| rest.strip_suffix(')'))?.trim();
    let version = rest.trim_start_matches(is_operator);
    let operator = match rest.strip_suffix(version)? {
        "<<" => "<",
        ">>" => ">",
        "==" => "=",
        operator => operator,
    };
    let apk = format!("{name}{operator}{}", version.trim());
    let is_one = operator.is_empty() == version.is_empty() && Dependency::parse(&apk).is_ok();
    is_one.then_some(apk)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::dependency::Dependencies;

    #[rstest]
    #[case(
        "bash (>= 4.4)",
        "dependency `bash (>= 4.4)` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case(
        "bash(>=4.4)",
        "dependency `bash(>=4.4)` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case(
        "bash >= 4.4",
        "dependency `bash >= 4.4` is not written as apk has it: write `bash>=4.4`"
    )]
    #[case("a (<< 2)", "dependency `a (<< 2)` is not written as apk has it: write `a<2`")]
    #[case("a (>> 2)", "dependency `a (>> 2)` is not written as apk has it: write `a>2`")]
    #[case("a == 2", "dependency `a == 2` is not written as apk has it: write `a=2`")]
    #[case(
        "bash (>= 4.4) | fish",
        "dependency `bash (>= 4.4) | fish` has alternatives, which apk does not know: write `bash>=4.4` or \
         `fish`"
    )]
    #[case(
        "zsh | fish",
        "dependency `zsh | fish` has alternatives, which apk does not know: write `zsh` or `fish`"
    )]
    #[case("!bad name@", "dependency `name@` has an invalid name")]
    #[case("a (= xyz)", "dependency `(=` has an invalid name")]
    #[case("a (>= )", "dependency `(>=` has an invalid name")]
    fn a_dependency_of_deb_or_rpm_is_told_as_apk_has_it(#[case] line: &str, #[case] message: &str) {
        let rejected = Dependencies::default().extend_from_line(line, Dependency::parse);
        assert_eq!(rejected.unwrap_err().to_string(), message);
    }
}
