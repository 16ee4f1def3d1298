//! One source file as facts: which paths it names, how long it and its functions are, and where it makes exceptions.

use proc_macro2::{Delimiter, LineColumn, TokenStream, TokenTree};
use syn::{Attribute, File, ImplItem, Item, ItemMod, UseTree, spanned::Spanned, visit::Visit};

/// A path of modules and items: `crate::hub::Hub` is `["crate", "hub", "Hub"]`.
pub(super) type Path = Vec<String>;

/// A file of a crate.
#[derive(Debug)]
pub(super) struct Source {
    /// Its path below `src`.
    pub(super) file: String,
    /// Its module; empty for the crate's root.
    pub(super) module: Path,
    /// Every path that it names, also in macros and attributes.
    pub(super) names: Vec<Name>,
    /// What `use` makes of a name.
    pub(super) imports: Vec<Import>,
    /// Its modules, those in braces too.
    pub(super) modules: Vec<Module>,
    /// What it defines, modules too.
    pub(super) items: Vec<Path>,
    /// Functions outside of tests.
    pub(super) functions: Vec<Function>,
    /// Lines outside of tests that are neither empty nor a comment.
    pub(super) lines: usize,
    /// The lines of its attributes that allow unsafe code, and whether each gives a reason.
    pub(super) allows_unsafe: Vec<(usize, bool)>,
}

/// A path as it is written.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) path: Path,
    /// It begins with `::`.
    pub(super) absolute: bool,
    /// It ends with `*`.
    pub(super) glob: bool,
    /// The module that names it.
    pub(super) module: Path,
    pub(super) line: usize,
    /// It is compiled only for tests.
    pub(super) test: bool,
}

/// A name that `use` brings into a module: everything behind a path for a glob.
#[derive(Debug)]
pub(super) struct Import {
    /// `None` for a glob.
    pub(super) alias: Option<String>,
    pub(super) name: Name,
}

/// A module that a file declares.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) path: Path,
    pub(super) test: bool,
}

/// A function with a body.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

impl Source {
    /// Parses a file; `file` is its path below `src`.
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let module = module_of(file);
        let tree: File = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut collector = Collector {
            source: Self {
                file: file.into(),
                module: module.clone(),
                names: Vec::new(),
                imports: Vec::new(),
                modules: vec![Module { path: module.clone(), test: false }],
                items: Vec::new(),
                functions: Vec::new(),
                lines: 0,
                allows_unsafe: Vec::new(),
            },
            module,
            test: file.ends_with("tests.rs"),
            tests: Vec::new(),
        };
        collector.visit_file(&tree);
        let Collector { mut source, tests, .. } = collector;
        let in_tests = |number: usize| tests.iter().any(|(first, last)| (*first..=*last).contains(&number));
        let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let lines = text.lines().enumerate().filter(|(place, line)| is_code(line) && !in_tests(place + 1));
        source.lines = lines.count();
        let tokens: TokenStream = text.parse().expect("tokens, since it is a file");
        for (path, line) in keywords(tokens) {
            let module = source.module.clone();
            source.names.push(Name { path, absolute: true, glob: false, module, line, test: in_tests(line) });
        }
        source
    }

    /// Where a line is, for a person.
    pub(super) fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.file)
    }
}

/// The module of a file: `hub/mod.rs` is `hub`, `media/h264/coder.rs` is `media::h264::coder`.
fn module_of(file: &str) -> Path {
    let stem = file.strip_suffix(".rs").unwrap_or_else(|| panic!("{file} is no Rust file"));
    let mut module: Path = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

struct Collector {
    source: Source,
    /// Where the visit is.
    module: Path,
    test: bool,
    /// First and last lines of what is compiled only for tests.
    tests: Vec<(usize, usize)>,
}

impl Collector {
    fn name(&self, path: Path, line: usize) -> Name {
        Name { path, absolute: false, glob: false, module: self.module.clone(), line, test: self.test }
    }

    /// Visits what may be compiled only for tests.
    fn within(&mut self, attributes: &[Attribute], lines: (LineColumn, LineColumn), visit: impl FnOnce(&mut Self)) {
        let outside = self.test;
        if !outside && attributes.iter().any(is_for_tests) {
            self.test = true;
            self.tests.push((lines.0.line, lines.1.line));
        }
        visit(self);
        self.test = outside;
    }

    fn function(&mut self, name: &syn::Ident, signature: proc_macro2::Span, end: LineColumn) {
        let line = signature.start().line;
        if !self.test {
            self.source.functions.push(Function { name: name.to_string(), line, lines: end.line - line + 1 });
        }
    }

    /// The paths of a `use`, behind this prefix.
    fn use_tree(&mut self, tree: &UseTree, prefix: &Path, absolute: bool) {
        let line = tree.span().start().line;
        let (path, alias) = match tree {
            UseTree::Path(path) => {
                let prefix = [prefix.as_slice(), &[path.ident.to_string()]].concat();
                return self.use_tree(&path.tree, &prefix, absolute);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.use_tree(tree, prefix, absolute));
            }
            UseTree::Glob(_) => (prefix.clone(), None),
            UseTree::Name(name) => (joined(prefix, &name.ident), joined(prefix, &name.ident).last().cloned()),
            UseTree::Rename(rename) => (joined(prefix, &rename.ident), Some(rename.rename.to_string())),
        };
        let name = Name { absolute, glob: alias.is_none(), ..self.name(path, line) };
        self.source.names.push(name.clone());
        self.source.imports.push(Import { alias, name });
    }

    /// The paths in tokens that are not parsed: a macro's or an attribute's arguments.
    fn tokens(&mut self, tokens: TokenStream, prefix: &[String]) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path: Path = prefix.to_vec();
        while let Some(token) = tokens.next() {
            match &token {
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    path.push(ident.to_string());
                    let mut colons = 0;
                    while colons < 2 && tokens.next_if(|next| is_punct(next, ':')).is_some() {
                        colons += 1;
                    }
                    let goes_on = matches!(tokens.peek(), Some(TokenTree::Ident(_) | TokenTree::Group(_)));
                    if colons == 2 && goes_on {
                        continue;
                    }
                    if path.len() > 1 {
                        let glob = tokens.peek().is_some_and(|next| colons == 2 && is_punct(next, '*'));
                        self.source.names.push(Name { glob, ..self.name(path.clone(), line) });
                    }
                }
                // Only `use a::{b, c}` has braces behind a path.
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && path.len() > prefix.len() => {
                    self.tokens(group.stream(), &path);
                }
                TokenTree::Group(group) => self.tokens(group.stream(), &[]),
                TokenTree::Literal(_) | TokenTree::Punct(_) => {}
            }
            path = prefix.to_vec();
        }
    }

    /// Paths that an attribute has in a string, as serde's do.
    fn strings(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.strings(group.stream()),
                TokenTree::Literal(literal) => {
                    let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else { continue };
                    let Ok(path) = text.parse::<syn::Path>() else { continue };
                    let path: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                    if path.len() > 1 {
                        self.source.names.push(self.name(path, literal.span().start().line));
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) => {}
            }
        }
    }
}

/// Each `unsafe` and `async`, as if it were a path.
fn keywords(tokens: TokenStream) -> Vec<(Path, usize)> {
    let found = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) => keywords(group.stream()),
        TokenTree::Ident(ident) if ident == "unsafe" || ident == "async" => {
            vec![(vec![ident.to_string()], ident.span().start().line)]
        }
        TokenTree::Ident(_) | TokenTree::Literal(_) | TokenTree::Punct(_) => Vec::new(),
    });
    found.collect()
}

/// A path and what follows it: `self` stands for the path.
fn joined(prefix: &[String], ident: &syn::Ident) -> Path {
    if ident == "self" && !prefix.is_empty() { prefix.to_vec() } else { [prefix, &[ident.to_string()]].concat() }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Whether this is `#[cfg(test)]`, or `#[test]`, or tests are one of several conditions.
fn is_for_tests(attribute: &Attribute) -> bool {
    let arguments = || attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default();
    attribute.path().is_ident("test")
        || attribute.path().is_ident("cfg") && {
            let condition = arguments();
            condition == "test" || condition.starts_with("all") && condition.contains("test")
        }
}

/// Both attributes that let unsafe code be: `allow(unsafe_code, reason = "…")` and `expect`.
fn allows_unsafe(attribute: &Attribute) -> Option<bool> {
    let list = attribute.meta.require_list().ok()?;
    let lets = list.path.is_ident("allow") || list.path.is_ident("expect");
    let mut idents = list.tokens.clone().into_iter().filter_map(|token| match token {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    });
    let named: Vec<String> = idents.by_ref().collect();
    (lets && named.iter().any(|name| name == "unsafe_code")).then(|| named.iter().any(|name| name == "reason"))
}

/// An item's attributes and what it is called.
fn parts(item: &Item) -> (&[Attribute], Option<&syn::Ident>) {
    match item {
        Item::Const(syn::ItemConst { attrs, ident, .. })
        | Item::Enum(syn::ItemEnum { attrs, ident, .. })
        | Item::Mod(ItemMod { attrs, ident, .. })
        | Item::Static(syn::ItemStatic { attrs, ident, .. })
        | Item::Struct(syn::ItemStruct { attrs, ident, .. })
        | Item::Trait(syn::ItemTrait { attrs, ident, .. })
        | Item::Type(syn::ItemType { attrs, ident, .. })
        | Item::Union(syn::ItemUnion { attrs, ident, .. }) => (attrs, Some(ident)),
        Item::Fn(syn::ItemFn { attrs, sig, .. }) => (attrs, Some(&sig.ident)),
        Item::Macro(syn::ItemMacro { attrs, ident, .. }) => (attrs, ident.as_ref()),
        Item::ExternCrate(syn::ItemExternCrate { attrs, .. })
        | Item::ForeignMod(syn::ItemForeignMod { attrs, .. })
        | Item::Impl(syn::ItemImpl { attrs, .. })
        | Item::Use(syn::ItemUse { attrs, .. }) => (attrs, None),
        _ => (&[], None),
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let (lines, (attributes, ident)) = ((item.span().start(), item.span().end()), parts(item));
        self.source.items.extend(ident.map(|ident| joined(&self.module, ident)));
        self.within(attributes, lines, |this| syn::visit::visit_item(this, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(function) => function.attrs.as_slice(),
            ImplItem::Const(constant) => &constant.attrs,
            _ => &[],
        };
        let lines = (item.span().start(), item.span().end());
        self.within(attributes, lines, |this| syn::visit::visit_impl_item(this, item));
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let path = joined(&self.module, &module.ident);
        self.source.modules.push(Module { path: path.clone(), test: self.test });
        let outside = std::mem::replace(&mut self.module, path);
        syn::visit::visit_item_mod(self, module);
        self.module = outside;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        item.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.use_tree(&item.tree, &Vec::new(), item.leading_colon.is_some());
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let alias = item.rename.as_ref().map_or(&item.ident, |(_, rename)| rename).to_string();
        let name = Name { absolute: true, ..self.name(vec![item.ident.to_string()], item.span().start().line) };
        self.source.names.push(name.clone());
        self.source.imports.push(Import { alias: Some(alias), name });
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig.ident, function.sig.span(), function.block.span().end());
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig.ident, function.sig.span(), function.block.span().end());
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.function(&function.sig.ident, function.sig.span(), body.span().end());
        }
        syn::visit::visit_trait_item_fn(self, function);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let name = self.name(segments, path.span().start().line);
        self.source.names.push(Name { absolute: path.leading_colon.is_some(), ..name });
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone(), &[]);
        syn::visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        self.source.allows_unsafe.extend(allows_unsafe(attribute).map(|why| (attribute.span().start().line, why)));
        match &attribute.meta {
            syn::Meta::List(list) => {
                self.tokens(list.tokens.clone(), &[]);
                self.strings(list.tokens.clone());
            }
            syn::Meta::NameValue(_) | syn::Meta::Path(_) => {}
        }
        syn::visit::visit_attribute(self, attribute);
    }

    // `pub(in crate::media)` names nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
