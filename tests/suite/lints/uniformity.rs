//! Whether every barrier is reached by all invocations of a workgroup or by none.
//!
//! WGSL demands that this can be proven, and a browser's compiler refuses what it can't prove; naga accepts it all.
//! The analysis here is simpler than WGSL's and stricter. It follows what *varies* between the invocations of a
//! workgroup: values, starting from everything but constants, uniforms, read-only storage and the workgroup's own
//! numbers; variables that a varying value is stored to, or any value where control flow varies; and the loops and
//! switches that invocations leave at different times. It begins with nothing of these and adds to them until
//! nothing more follows. A barrier where control flow varies is a violation.

use std::collections::HashSet;

use naga::{
    AddressSpace, Binding, Block, BuiltIn, Expression, Function, Handle, LocalVariable, Module, Span, Statement,
    StorageAccess,
};

/// A line for each barrier of `module`'s entry point that only some invocations may reach; `source` is its text.
pub fn violations(module: &Module, source: &str) -> Vec<String> {
    let main = &module.entry_points[0].function;
    let uniform = [BuiltIn::WorkGroupId, BuiltIn::NumWorkGroups, BuiltIn::WorkGroupSize];
    let varies =
        |binding: &Option<Binding>| !matches!(binding, Some(Binding::BuiltIn(built_in)) if uniform.contains(built_in));
    let arguments = main.arguments.iter().map(|argument| varies(&argument.binding)).collect();
    let mut lines: Vec<String> = analyse(module, main, arguments, false)
        .barriers
        .iter()
        .map(|span| format!("line {}: not every invocation reaches this barrier", span.location(source).line_number))
        .collect();
    lines.dedup();
    lines
}

/// What is known of a call of `function`, its `arguments` varying or not, from where control flow varies or not.
fn analyse<'a>(module: &'a Module, function: &'a Function, arguments: Vec<bool>, flow: bool) -> Analysis<'a> {
    let mut analysis = Analysis { module, function, arguments, ..Analysis::new(module, function) };
    loop {
        let known = analysis.size();
        analysis.expressions.clear();
        analysis.barriers.clear();
        analysis.diverged = false;
        for (handle, expression) in function.expressions.iter() {
            let varies = analysis.expression(handle, expression);
            analysis.expressions.push(varies);
        }
        analysis.walk(&function.body, flow);
        if analysis.size() == known {
            return analysis;
        }
    }
}

struct Analysis<'a> {
    module: &'a Module,
    function: &'a Function,
    /// Whether each argument varies.
    arguments: Vec<bool>,
    /// Whether each expression varies, in the order of the arena, where operands come first.
    expressions: Vec<bool>,
    /// Variables that vary.
    locals: HashSet<Handle<LocalVariable>>,
    /// Results of calls that vary.
    calls: HashSet<Handle<Expression>>,
    /// Loops and switches, by the address of their (first) body, that invocations leave at different times.
    split: HashSet<*const Block>,
    /// Some invocations have returned before the statement at hand.
    diverged: bool,
    /// The value returned varies.
    result: bool,
    /// Loops and switches around the statement at hand, and whether each is a loop.
    around: Vec<(*const Block, bool)>,
    /// Barriers where control flow varies.
    barriers: Vec<Span>,
}

impl<'a> Analysis<'a> {
    fn new(module: &'a Module, function: &'a Function) -> Self {
        let (arguments, expressions, around, barriers) = Default::default();
        let (locals, calls, split) = Default::default();
        let (diverged, result) = (false, false);
        Self { module, function, arguments, expressions, locals, calls, split, diverged, result, around, barriers }
    }

    /// Grows with every new piece of knowledge.
    fn size(&self) -> usize {
        self.locals.len() + self.calls.len() + self.split.len() + usize::from(self.diverged) + usize::from(self.result)
    }

    fn varies(&self, expression: Handle<Expression>) -> bool {
        self.expressions[expression.index()]
    }

    fn expression(&self, handle: Handle<Expression>, expression: &Expression) -> bool {
        let any = |operands: &[Handle<Expression>]| operands.iter().any(|&operand| self.varies(operand));
        match *expression {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::GlobalVariable(_)
            | Expression::LocalVariable(_)
            | Expression::ArrayLength(_)
            | Expression::WorkGroupUniformLoadResult { .. } => false,
            Expression::FunctionArgument(index) => self.arguments[index as usize],
            Expression::CallResult(_) => self.calls.contains(&handle),
            Expression::Load { pointer } => self.varies(pointer) || self.memory_varies(pointer),
            Expression::Compose { ref components, .. } => any(components),
            Expression::Access { base, index } => any(&[base, index]),
            Expression::AccessIndex { base: operand, .. }
            | Expression::Splat { value: operand, .. }
            | Expression::Swizzle { vector: operand, .. }
            | Expression::Unary { expr: operand, .. }
            | Expression::Relational { argument: operand, .. }
            | Expression::As { expr: operand, .. } => self.varies(operand),
            Expression::Binary { left, right, .. } => any(&[left, right]),
            Expression::Select { condition, accept, reject } => any(&[condition, accept, reject]),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1, arg2, arg3].into_iter().flatten().any(|operand| self.varies(operand))
            }
            _ => true,
        }
    }

    /// What `pointer` points into: a variable's expression, or something unknown.
    fn root(&self, mut pointer: Handle<Expression>) -> &Expression {
        while let Expression::Access { base, .. } | Expression::AccessIndex { base, .. } =
            self.function.expressions[pointer]
        {
            pointer = base;
        }
        &self.function.expressions[pointer]
    }

    /// Whether invocations may find different values behind the same pointer.
    fn memory_varies(&self, pointer: Handle<Expression>) -> bool {
        match *self.root(pointer) {
            Expression::LocalVariable(local) => self.locals.contains(&local),
            Expression::GlobalVariable(global) => match self.module.global_variables[global].space {
                AddressSpace::Uniform => false,
                AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                _ => true,
            },
            _ => true,
        }
    }

    fn taint(&mut self, pointer: Handle<Expression>) {
        if let Expression::LocalVariable(local) = *self.root(pointer) {
            self.locals.insert(local);
        }
    }

    /// Invocations leave the innermost loop (or, with `switches`, loop or switch) at different times.
    fn split(&mut self, switches: bool) {
        let target = self.around.iter().rev().find(|(_, is_loop)| switches || *is_loop);
        self.split.extend(target.map(|(body, _)| body));
    }

    fn walk(&mut self, block: &'a Block, flow: bool) {
        for (statement, &span) in block.span_iter() {
            let flow = flow || self.diverged;
            match *statement {
                Statement::Block(ref block) => self.walk(block, flow),
                Statement::If { condition, ref accept, ref reject } => {
                    let flow = flow || self.varies(condition);
                    self.walk(accept, flow);
                    self.walk(reject, flow);
                }
                Statement::Switch { selector, ref cases } => {
                    let first = &raw const cases[0].body;
                    let flow = flow || self.varies(selector) || self.split.contains(&first);
                    self.around.push((first, false));
                    cases.iter().for_each(|case| self.walk(&case.body, flow));
                    self.around.pop();
                }
                Statement::Loop { ref body, ref continuing, break_if } => {
                    let flow = flow || self.split.contains(&(&raw const *body));
                    self.around.push((body, true));
                    self.walk(body, flow);
                    self.walk(continuing, flow);
                    if break_if.is_some_and(|condition| self.varies(condition)) {
                        self.split(false);
                    }
                    self.around.pop();
                }
                Statement::Break if flow => self.split(true),
                Statement::Continue if flow => self.split(false),
                Statement::Return { value } => {
                    if flow {
                        self.diverged = true;
                        self.split.extend(self.around.iter().map(|(body, _)| body));
                    }
                    self.result |= flow || value.is_some_and(|value| self.varies(value));
                }
                Statement::Store { pointer, value } if flow || self.varies(value) || self.varies(pointer) => {
                    self.taint(pointer);
                }
                Statement::Call { function, ref arguments, result } => {
                    arguments.iter().for_each(|&argument| self.taint(argument));
                    let arguments = arguments.iter().map(|&argument| self.varies(argument)).collect();
                    let call = analyse(self.module, &self.module.functions[function], arguments, flow);
                    self.barriers.extend(call.barriers);
                    if call.result {
                        self.calls.extend(result);
                    }
                }
                Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) | Statement::WorkGroupUniformLoad { .. }
                    if flow =>
                {
                    self.barriers.push(span);
                }
                _ => {}
            }
        }
    }
}
