import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.Opcodes;
import org.objectweb.asm.Type;
import org.objectweb.asm.tree.*;
import org.objectweb.asm.tree.analysis.Analyzer;
import org.objectweb.asm.tree.analysis.BasicInterpreter;
import org.objectweb.asm.tree.analysis.BasicValue;
import org.objectweb.asm.tree.analysis.Frame;

/**
 * Turns javac's classes into smali, which the smali assembler turns into Android's dex.
 *
 * <p>Every place on the JVM's operand stack is a register of its own (v0 and on), every local variable one behind
 * them, and the parameters are the last ones, where dex wants them. So each JVM instruction becomes one or two of
 * dex, and nothing is decided here. Slow code, but this is a shell around a program. What the app's sources do not use
 * (lambdas, locks, boolean arrays and the like) is refused with its place.
 *
 * <p>Usage: {@code java -cp asm... ToSmali.java CLASSES SMALI}.
 */
public final class ToSmali {
    /** Most instructions of dex name 16 registers only, and calculations happen on the stack. */
    private static final int MAX_STACK = 16;

    public static void main(String[] arguments) throws Exception {
        Path classes = Path.of(arguments[0]);
        Path smali = Path.of(arguments[1]);
        List<Path> files;
        try (Stream<Path> all = Files.walk(classes)) {
            files = all.filter(path -> path.toString().endsWith(".class")).sorted().collect(Collectors.toList());
        }
        for (Path file : files) {
            ClassNode node = new ClassNode();
            new ClassReader(Files.readAllBytes(file)).accept(node, 0);
            Path target = smali.resolve(node.name + ".smali");
            Files.createDirectories(target.getParent());
            Files.write(target, classText(node).getBytes(StandardCharsets.UTF_8));
        }
    }

    private static String classText(ClassNode node) throws Exception {
        StringBuilder out = new StringBuilder();
        out.append(".class ").append(flags(node.access & ~Opcodes.ACC_SUPER, false)).append('L').append(node.name).append(";\n");
        out.append(".super L").append(node.superName).append(";\n");
        if (node.sourceFile != null) {
            out.append(".source \"").append(node.sourceFile).append("\"\n");
        }
        for (String one : node.interfaces) {
            out.append(".implements L").append(one).append(";\n");
        }
        for (FieldNode field : node.fields) {
            out.append("\n.field ").append(flags(field.access, false)).append(field.name).append(':').append(field.desc);
            if (field.value != null) {
                out.append(" = ").append(literal(field.value, field.desc));
            }
            out.append('\n');
        }
        for (MethodNode method : node.methods) {
            out.append('\n').append(new Body(node, method).text());
        }
        return out.toString();
    }

    private static String literal(Object value, String type) {
        if (value instanceof String) {
            return string((String) value);
        }
        if (value instanceof Long) {
            return value + "L";
        }
        if (value instanceof Integer) {
            return type.equals("Z") ? ((Integer) value == 0 ? "false" : "true") : value.toString();
        }
        throw new IllegalArgumentException("a constant of type " + type);
    }

    private static String string(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char one : text.toCharArray()) {
            if (one < ' ' || one > '~' || one == '"' || one == '\\') {
                out.append(String.format("\\u%04x", (int) one));
            } else {
                out.append(one);
            }
        }
        return out.append('"').toString();
    }

    private static String flags(int access, boolean isMethod) {
        StringBuilder out = new StringBuilder();
        String[] names = {
            "public", "private", "protected", "static", "final", isMethod ? "synchronized" : "", isMethod ? "bridge" : "volatile",
            isMethod ? "varargs" : "transient", "native", "interface", "abstract", "strictfp", "synthetic", "annotation", "enum",
        };
        for (int bit = 0; bit < names.length; bit++) {
            if ((access & (1 << bit)) != 0) {
                out.append(names[bit]).append(' ');
            }
        }
        return out.toString();
    }

    /** A method's instructions. */
    private static final class Body {
        private final ClassNode owner;
        private final MethodNode method;
        private final StringBuilder out = new StringBuilder();
        private final StringBuilder tables = new StringBuilder();
        private final Map<LabelNode, Integer> labels = new HashMap<>();
        private final int parameters;
        private Frame<BasicValue> frame;

        Body(ClassNode owner, MethodNode method) {
            this.owner = owner;
            this.method = method;
            int size = Type.getArgumentsAndReturnSizes(method.desc) >> 2;
            this.parameters = (method.access & Opcodes.ACC_STATIC) != 0 ? size - 1 : size;
        }

        String text() throws Exception {
            if ((method.access & (Opcodes.ACC_SYNCHRONIZED | Opcodes.ACC_NATIVE)) != 0 || method.maxStack > MAX_STACK) {
                throw refused("this kind of method, or one with so deep a stack");
            }
            String constructor = method.name.startsWith("<") ? "constructor " : "";
            out.append(".method ").append(flags(method.access, true)).append(constructor).append(method.name).append(method.desc).append('\n');
            if ((method.access & Opcodes.ACC_ABSTRACT) == 0) {
                int own = Math.max(method.maxLocals - parameters, 0);
                out.append("    .locals ").append(method.maxStack + own).append('\n');
                instructions();
                handlers();
                out.append(tables);
            }
            return out.append(".end method\n").toString();
        }

        private void instructions() throws Exception {
            Frame<BasicValue>[] frames = new Analyzer<>(new BasicInterpreter()).analyze(owner.name, method);
            for (AbstractInsnNode one = method.instructions.getFirst(); one != null; one = one.getNext()) {
                frame = frames[method.instructions.indexOf(one)];
                if (one instanceof LabelNode) {
                    out.append("    ").append(label((LabelNode) one)).append('\n');
                    if (isHandler((LabelNode) one)) {
                        emit("move-exception v0");
                    }
                } else if (one instanceof LineNumberNode) {
                    out.append("    .line ").append(((LineNumberNode) one).line).append('\n');
                } else if (one.getOpcode() >= 0 && frame != null) {
                    translate(one);
                }
            }
        }

        private boolean isHandler(LabelNode label) {
            return method.tryCatchBlocks.stream().anyMatch(block -> block.handler == label);
        }

        private void handlers() {
            for (TryCatchBlockNode block : method.tryCatchBlocks) {
                String range = " {" + label(block.start) + " .. " + label(block.end) + "} " + label(block.handler);
                out.append(block.type == null ? "    .catchall" : "    .catch L" + block.type + ";").append(range).append('\n');
            }
        }

        private void translate(AbstractInsnNode one) {
            int opcode = one.getOpcode();
            int depth = depth();
            if (one instanceof VarInsnNode) {
                variable(opcode, ((VarInsnNode) one).var, depth);
            } else if (one instanceof FieldInsnNode) {
                field((FieldInsnNode) one, depth);
            } else if (one instanceof MethodInsnNode) {
                call((MethodInsnNode) one, depth);
            } else if (one instanceof JumpInsnNode) {
                jump(opcode, label(((JumpInsnNode) one).label), depth);
            } else if (one instanceof TypeInsnNode) {
                type(opcode, ((TypeInsnNode) one).desc, one, depth);
            } else if (one instanceof LdcInsnNode) {
                constant(((LdcInsnNode) one).cst, depth);
            } else if (one instanceof IincInsnNode) {
                IincInsnNode add = (IincInsnNode) one;
                String register = local(add.var);
                if (add.incr < Byte.MIN_VALUE || add.incr > Byte.MAX_VALUE) {
                    throw refused("so big a step");
                }
                emit("add-int/lit8 " + register + ", " + register + ", " + add.incr);
            } else if (one instanceof TableSwitchInsnNode) {
                TableSwitchInsnNode table = (TableSwitchInsnNode) one;
                switchOn(table.labels, index -> table.min + index, table.dflt, depth);
            } else if (one instanceof LookupSwitchInsnNode) {
                LookupSwitchInsnNode table = (LookupSwitchInsnNode) one;
                switchOn(table.labels, table.keys::get, table.dflt, depth);
            } else if (one instanceof IntInsnNode) {
                integer(opcode, ((IntInsnNode) one).operand, depth);
            } else if (one instanceof InsnNode) {
                plain(opcode, one, depth);
            } else {
                throw refused("instruction " + opcode + " (a lambda?)");
            }
        }

        private void variable(int opcode, int index, int depth) {
            if (opcode >= Opcodes.ILOAD && opcode <= Opcodes.ALOAD) {
                emit(move(opcode - Opcodes.ILOAD) + " v" + depth + ", " + local(index));
            } else if (opcode >= Opcodes.ISTORE && opcode <= Opcodes.ASTORE) {
                int kind = opcode - Opcodes.ISTORE;
                emit(move(kind) + " " + local(index) + ", v" + (depth - size(kind)));
            } else {
                throw refused("instruction " + opcode);
            }
        }

        private void field(FieldInsnNode one, int depth) {
            String name = "L" + one.owner + ";->" + one.name + ":" + one.desc;
            Type type = Type.getType(one.desc);
            switch (one.getOpcode()) {
                case Opcodes.GETSTATIC: emit("sget" + suffix(type) + " v" + depth + ", " + name); break;
                case Opcodes.PUTSTATIC: emit("sput" + suffix(type) + " v" + (depth - type.getSize()) + ", " + name); break;
                case Opcodes.GETFIELD: emit("iget" + suffix(type) + " v" + (depth - 1) + ", v" + (depth - 1) + ", " + name); break;
                default:
                    int value = depth - type.getSize();
                    emit("iput" + suffix(type) + " v" + value + ", v" + (value - 1) + ", " + name);
            }
        }

        private void call(MethodInsnNode one, int depth) {
            boolean isStatic = one.getOpcode() == Opcodes.INVOKESTATIC;
            int count = (Type.getArgumentsAndReturnSizes(one.desc) >> 2) - (isStatic ? 1 : 0);
            int first = depth - count;
            String target = one.owner.startsWith("[") ? one.owner : "L" + one.owner + ";";
            String kind;
            switch (one.getOpcode()) {
                case Opcodes.INVOKESTATIC: kind = "static"; break;
                case Opcodes.INVOKEINTERFACE: kind = "interface"; break;
                case Opcodes.INVOKEVIRTUAL: kind = "virtual"; break;
                default: kind = one.name.equals("<init>") || one.owner.equals(owner.name) ? "direct" : "super";
            }
            String range = count == 0 ? " {}" : "/range {v" + first + " .. v" + (depth - 1) + "}";
            emit("invoke-" + kind + range + ", " + target + "->" + one.name + one.desc);
            // On an object that is new, whose copy is below it (see `type`). The one that is being made
            // itself has nothing below: javac calls its `super` or `this` as a statement of its own.
            if (one.name.equals("<init>") && first > 0) {
                emit("move-object/from16 v" + (first - 1) + ", v" + first);
            }
            Type result = Type.getReturnType(one.desc);
            if (result.getSort() != Type.VOID) {
                String wide = isReference(result) ? "-object" : result.getSize() == 2 ? "-wide" : "";
                emit("move-result" + wide + " v" + first);
            }
        }

        private void jump(int opcode, String label, int depth) {
            String top = "v" + (depth - 1);
            String[] byZero = {"eqz", "nez", "ltz", "gez", "gtz", "lez"};
            String[] byOther = {"eq", "ne", "lt", "ge", "gt", "le", "eq", "ne"};
            if (opcode == Opcodes.GOTO) {
                emit("goto/16 " + label);
            } else if (opcode >= Opcodes.IFEQ && opcode <= Opcodes.IFLE) {
                emit("if-" + byZero[opcode - Opcodes.IFEQ] + " " + top + ", " + label);
            } else if (opcode == Opcodes.IFNULL || opcode == Opcodes.IFNONNULL) {
                emit("if-" + byZero[opcode - Opcodes.IFNULL] + " " + top + ", " + label);
            } else if (opcode >= Opcodes.IF_ICMPEQ && opcode <= Opcodes.IF_ACMPNE) {
                emit("if-" + byOther[opcode - Opcodes.IF_ICMPEQ] + " v" + (depth - 2) + ", " + top + ", " + label);
            } else {
                throw refused("instruction " + opcode);
            }
        }

        private void type(int opcode, String name, AbstractInsnNode one, int depth) {
            String type = name.startsWith("[") ? name : "L" + name + ";";
            String top = "v" + (depth - 1);
            switch (opcode) {
                case Opcodes.NEW:
                    if (one.getNext().getOpcode() != Opcodes.DUP) {
                        throw refused("a new object that nobody keeps");
                    }
                    // The object is made where the constructor is called with it, and copied to its
                    // place below once it is whole: no verifier has to follow copies of an object
                    // that is not.
                    emit("new-instance v" + (depth + 1) + ", " + type);
                    break;
                case Opcodes.ANEWARRAY: emit("new-array " + top + ", " + top + ", [" + type); break;
                case Opcodes.CHECKCAST: emit("check-cast " + top + ", " + type); break;
                default: emit("instance-of " + top + ", " + top + ", " + type);
            }
        }

        private void constant(Object value, int depth) {
            String to = " v" + depth + ", ";
            if (value instanceof String) {
                emit("const-string" + to + string((String) value));
            } else if (value instanceof Integer) {
                emit("const" + to + value);
            } else if (value instanceof Long) {
                emit("const-wide" + to + value + "L");
            } else if (value instanceof Type) {
                emit("const-class" + to + ((Type) value).getDescriptor());
            } else {
                throw refused("a constant of " + value.getClass());
            }
        }

        private void integer(int opcode, int operand, int depth) {
            if (opcode == Opcodes.BIPUSH || opcode == Opcodes.SIPUSH) {
                emit("const v" + depth + ", " + operand);
                return;
            }
            String[] types = {"", "", "", "", null, "C", "F", "D", "B", "S", "I", "J"};
            if (types[operand] == null) {
                throw refused("an array of booleans: it cannot be told from one of bytes");
            }
            emit("new-array v" + (depth - 1) + ", v" + (depth - 1) + ", [" + types[operand]);
        }

        private interface Keys {
            int at(int index);
        }

        private void switchOn(List<LabelNode> targets, Keys keys, LabelNode otherwise, int depth) {
            String table = ":table" + tables.length();
            emit("sparse-switch v" + (depth - 1) + ", " + table);
            emit("goto/16 " + label(otherwise));
            tables.append("    ").append(table).append("\n    .sparse-switch\n");
            for (int index = 0; index < targets.size(); index++) {
                tables.append("        ").append(keys.at(index)).append(" -> ").append(label(targets.get(index))).append('\n');
            }
            tables.append("    .end sparse-switch\n");
        }

        private void plain(int opcode, AbstractInsnNode one, int depth) {
            String top = "v" + (depth - 1);
            String below = "v" + (depth - 2);
            if (opcode >= Opcodes.ICONST_M1 && opcode <= Opcodes.ICONST_5) {
                emit("const v" + depth + ", " + (opcode - Opcodes.ICONST_0));
                return;
            }
            if (opcode >= Opcodes.IADD && opcode <= Opcodes.LXOR) {
                arithmetic(opcode, depth);
                return;
            }
            switch (opcode) {
                case Opcodes.NOP: case Opcodes.POP: case Opcodes.POP2: break;
                case Opcodes.ACONST_NULL: emit("const v" + depth + ", 0"); break;
                case Opcodes.LCONST_0: emit("const-wide v" + depth + ", 0"); break;
                case Opcodes.LCONST_1: emit("const-wide v" + depth + ", 1"); break;
                case Opcodes.DUP:
                    if (one.getPrevious().getOpcode() != Opcodes.NEW) {
                        copy(depth, depth - 1, value(0));
                    }
                    break;
                case Opcodes.DUP_X1:
                    copy(depth, depth - 1, value(0));
                    copy(depth - 1, depth - 2, value(1));
                    copy(depth - 2, depth, value(0));
                    break;
                case Opcodes.DUP2:
                    if (value(0).getSize() == 2) {
                        copy(depth, depth - 2, value(0));
                    } else {
                        copy(depth, depth - 2, value(1));
                        copy(depth + 1, depth - 1, value(0));
                    }
                    break;
                case Opcodes.LCMP: emit("cmp-long v" + (depth - 4) + ", v" + (depth - 4) + ", " + below); break;
                case Opcodes.I2L: emit("int-to-long " + top + ", " + top); break;
                case Opcodes.L2I: emit("long-to-int " + below + ", " + below); break;
                case Opcodes.I2B: emit("int-to-byte " + top + ", " + top); break;
                case Opcodes.I2C: emit("int-to-char " + top + ", " + top); break;
                case Opcodes.ARRAYLENGTH: emit("array-length " + top + ", " + top); break;
                case Opcodes.ATHROW: emit("throw " + top); break;
                case Opcodes.RETURN: emit("return-void"); break;
                case Opcodes.IRETURN: emit("return " + top); break;
                case Opcodes.LRETURN: emit("return-wide " + below); break;
                case Opcodes.ARETURN: emit("return-object " + top); break;
                default: array(opcode, depth);
            }
        }

        private void arithmetic(int opcode, int depth) {
            String[] names = {"add", "sub", "mul", "div", "rem", "neg", "shl", "shr", "ushr", "and", "or", "xor"};
            int[] starts = {Opcodes.IADD, Opcodes.ISUB, Opcodes.IMUL, Opcodes.IDIV, Opcodes.IREM, Opcodes.INEG};
            int name;
            int kind;
            if (opcode < Opcodes.ISHL) {
                name = (opcode - starts[0]) / 4;
                kind = (opcode - starts[0]) % 4;
            } else {
                name = 6 + (opcode - Opcodes.ISHL) / 2;
                kind = (opcode - Opcodes.ISHL) % 2;
            }
            if (kind > 1) {
                throw refused("floating point");
            }
            String type = kind == 0 ? "-int" : "-long";
            if (opcode == Opcodes.INEG || opcode == Opcodes.LNEG) {
                String operand = "v" + (depth - size(kind));
                emit("neg" + type + " " + operand + ", " + operand);
                return;
            }
            boolean isShift = name >= 6 && name <= 8;
            int right = depth - (isShift ? 1 : size(kind));
            int left = right - size(kind);
            emit(names[name] + type + " v" + left + ", v" + left + ", v" + right);
        }

        private void array(int opcode, int depth) {
            String[] suffixes = {"", "-wide", null, null, "-object", "-byte", "-char", "-short"};
            if (opcode >= Opcodes.IALOAD && opcode <= Opcodes.SALOAD && suffixes[opcode - Opcodes.IALOAD] != null) {
                String at = "v" + (depth - 2);
                emit("aget" + suffixes[opcode - Opcodes.IALOAD] + " " + at + ", " + at + ", v" + (depth - 1));
            } else if (opcode >= Opcodes.IASTORE && opcode <= Opcodes.SASTORE && suffixes[opcode - Opcodes.IASTORE] != null) {
                int value = depth - (opcode == Opcodes.LASTORE ? 2 : 1);
                emit("aput" + suffixes[opcode - Opcodes.IASTORE] + " v" + value + ", v" + (value - 2) + ", v" + (value - 1));
            } else {
                throw refused("instruction " + opcode);
            }
        }

        private void copy(int to, int from, BasicValue value) {
            String kind = value.isReference() ? "move-object" : value.getSize() == 2 ? "move-wide" : "move";
            emit(kind + "/from16 v" + to + ", v" + from);
        }

        /** What lies so many values below the top of the stack. */
        private BasicValue value(int below) {
            return frame.getStack(frame.getStackSize() - 1 - below);
        }

        /** The registers that the stack takes: long values take two. */
        private int depth() {
            int depth = 0;
            for (int index = 0; index < frame.getStackSize(); index++) {
                depth += frame.getStack(index).getSize();
            }
            return depth;
        }

        private String local(int index) {
            return index < parameters ? "p" + index : "v" + (method.maxStack + index - parameters);
        }

        private String label(LabelNode label) {
            return ":l" + labels.computeIfAbsent(label, unused -> labels.size());
        }

        /** By the JVM's order of kinds: int, long, float, double, reference. */
        private String move(int kind) {
            if (kind == 2 || kind == 3) {
                throw refused("floating point");
            }
            return (kind == 4 ? "move-object" : kind == 1 ? "move-wide" : "move") + "/from16";
        }

        private static int size(int kind) {
            return kind == 1 ? 2 : 1;
        }

        private static boolean isReference(Type type) {
            return type.getSort() == Type.OBJECT || type.getSort() == Type.ARRAY;
        }

        private String suffix(Type type) {
            switch (type.getSort()) {
                case Type.OBJECT: case Type.ARRAY: return "-object";
                case Type.LONG: return "-wide";
                case Type.BOOLEAN: return "-boolean";
                case Type.BYTE: return "-byte";
                case Type.CHAR: return "-char";
                case Type.SHORT: return "-short";
                case Type.INT: return "";
                default: throw refused("floating point");
            }
        }

        private void emit(String line) {
            out.append("    ").append(line).append('\n');
        }

        private IllegalArgumentException refused(String what) {
            return new IllegalArgumentException(owner.name + "." + method.name + ": cannot be translated: " + what);
        }
    }
}
