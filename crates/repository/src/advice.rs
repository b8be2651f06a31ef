//! Errors that say what to do about them, each variant in one place.

/// Defines an error enum in which each variant is followed, as in a `match` arm, by its advice. The
/// method after the enum returns that.
///
/// So the message, kind and remedy of a variant are in one place, and the compiler requires all of
/// them. Fields are in scope under their names; the field of a tuple variant is named for this
/// purpose.
///
/// # Examples
///
/// ```
/// alpinist_repository::advised! {
///     /// Why a door stays closed.
///     #[derive(Debug, thiserror::Error)]
///     pub enum Closed {
///         /// It is locked.
///         #[error("the door is locked")]
///         Locked {
///             /// Who has the key.
///             owner: String,
///         } => format!("Ask {owner} for the key."),
///         /// It is painted on the wall.
///         #[error("the door is painted")]
///         Painted {
///             /// When.
///             year: u16,
///         } => "Find another one.".to_owned(),
///     }
///
///     /// Says what to do.
///     pub fn remedy(&self) -> String;
/// }
///
/// let locked = Closed::Locked { owner: "Ada".to_owned() };
/// assert_eq!(locked.to_string(), "the door is locked");
/// assert_eq!(locked.remedy(), "Ask Ada for the key.");
/// ```
#[macro_export]
macro_rules! advised {
    (
        $(#[$of_enum:meta])*
        $enum_visibility:vis enum $name:ident {
            $(
                $(#[$of_variant:meta])*
                $variant:ident
                $({ $( $(#[$of_field:meta])* $field:ident: $type:ty ),* $(,)? })?
                $(( $(#[$of_inner:meta])* $inner:ident: $inner_type:ty ))?
                => $advice:expr
            ),* $(,)?
        }

        $(#[$of_method:meta])*
        $visibility:vis fn $method:ident(&self) -> $returned:ty;
    ) => {
        $(#[$of_enum])*
        $enum_visibility enum $name {
            $(
                $(#[$of_variant])*
                $variant
                $({ $( $(#[$of_field])* $field: $type ),* })?
                $(( $(#[$of_inner])* $inner_type ))?
            ),*
        }

        impl $name {
            $(#[$of_method])*
            #[expect(unused_variables, reason = "few variants need all of their fields")]
            $visibility fn $method(&self) -> $returned {
                match self {
                    $( Self::$variant $({ $($field),* })? $(( $inner ))? => $advice ),*
                }
            }
        }
    };
}
