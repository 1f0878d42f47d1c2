//! Contains the macro for the schemas of enums whose variants have names.

/// Declares a type whose schema, under the name `$name`, is a text with the names of the enum `$type`. The schemas of
/// enums of other crates cannot be derived, and a derive would repeat the names of the variants.
macro_rules! schema_of_names {
    ($(#[doc = $doc:literal])* $schema:ident = $name:literal, $type:ty) => {
        $(#[doc = $doc])*
        pub struct $schema;

        impl utoipa::PartialSchema for $schema {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(concat!($($doc),*).trim()))
                    .enum_values(Some(<$type>::ALL.iter().map(|one| one.as_str())))
                    .into()
            }
        }

        impl utoipa::ToSchema for $schema {
            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
        }
    };
}
