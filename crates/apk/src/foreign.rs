//! Dependencies in the syntax of other package managers, which nfpm and fpm copy unchanged from
//! their configuration.

/// Returns `bash>=4.4` for `bash (>= 4.4)` and for `bash >= 4.4`.
pub(crate) fn spell(written: &str) -> Option<String> {
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
    (operator.is_empty() == version.is_empty()).then_some(apk)
}
