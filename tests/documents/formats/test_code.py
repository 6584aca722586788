"""Source code: definitions are headings, in what they are defined in."""

import time

from m3rag.documents import read
from m3rag.documents.formats.code import Language
from m3rag.documents.formats.registry import CODE
from tests.documents.formats.conftest import SCRIPTS

PYTHON = '''"""Watering: class Not:"""
import pump

# The plants
# of a room.
@dataclass
class Room(Place):
    """def nothing():"""

    def water(
        self,
    ) -> None:
        pump.run("""
def no_function():
""")

    async def dry(self): ...

if LATE:
    def stop(): ...
'''
DEFINITIONS = {
    "JAVASCRIPT": (
        "function f(a) { g(); }\nexport class A extends B {\n  // class No\n  async m(x) {\n"
        "    if (x) { n(); }\n  }\n}\nconst k = async (a) => 1;\nA.prototype.q = function () {};",
        "f A .m k q",
    ),
    "TYPESCRIPT": (
        "interface I { x: number }\nclass A<T> {\n  private m(x: T): void { n(); }\n}\n"
        "type T1 = B;\nenum E { A }\nexport const h = (x: T): T => x;",
        "I A .m T1 E h",
    ),
    "JAVA": (
        "/** class No */\npublic class A<T> extends B {\n  @Override\n  public int f(int x) {\n"
        "    for (int i : x) { return new B() { }; }\n  }\n"
        "  static <T> List<T> g(Map<String, T> m,\n      int b) throws X {\n  }\n"
        "  interface I { }\n}\nrecord R(int x) { }",
        "A .f .g .I R",
    ),
    "C": (
        "#include <x.h>\nstruct plant { int a; };\n/* int no(void) { } */\nstatic int f(int a)\n{\n"
        '  if (a) { }\n  return g("int h() {");\n}\nstruct plant *find(void) {\n}\nint later(int);',
        "plant f find",
    ),
    "CPP": (
        "class A : public B {\npublic:\n  explicit A(int x = 1) : x_(x) {}\n"
        "  int f() const { return g(); }\n};\nint A::h(int a) { i(); }",
        "A .A .f A::h",
    ),
    "CSHARP": (
        "namespace N {\n  public class A : B {\n    public int F(int x) { return G(x); }\n"
        "    public string P { get; set; }\n  }\n  record R(int X);\n}",
        "N .A ..F .R",
    ),
    "GO": (
        "type S struct { x int }\nfunc (s *S) F(a int) int { return g(a) }\nfunc H() {}",
        "S F H",
    ),
    "RUST": (
        "/// fn no() {}\n#[derive(Debug)]\npub(crate) struct S { x: i32 }\n"
        "impl<T: X> Show for S {\n  pub async fn f(&self) -> i32 { g() }\n}\n"
        "trait T {\n  fn m();\n}\nmacro_rules! mm { }",
        "S Show_for_S .f T .m mm",
    ),
    "RUBY": ("module M\n  class A < B\n    def self.f(x)\n    end\n  end\nend", "M .A ..self.f"),
    "PHP": (
        "<?php\nclass A extends B {\n  public function f($x) { }\n}\nfunction h() {}",
        "A .f h",
    ),
    "SWIFT": ("class A: B {\n  func f(_ x: Int) -> Int { g(x) }\n}\nextension S {}", "A .f S"),
    "KOTLIN": ("data class A(val x: Int) {\n  fun f(y: Int) = g(y)\n}\nfun <T> h() {}", "A .f h"),
    "SCALA": ("object O {\n  def f(x: Int) = g(x)\n}\ncase class C(a: Int)\ntrait T", "O .f C T"),
    "GROOVY": ("class A {\n  def f(x) { }\n  int g(int y) { }\n}", "A .f .g"),
    "DART": ("class A extends B {\n  int f(int x) { return 1; }\n}\nvoid main() { }", "A .f main"),
    "PERL": ("package P::Q;\nsub f { g(); }", "P::Q f"),
    "LUA": ("local function f(a) return a end\nfunction M:k() end", "f M:k"),
    "R": ("f <- function(x) { g(x) }\nh = function() 1", "f h"),
    "JULIA": ("module M\n  function f(x)\n  end\nend\nmutable struct S\nend", "M .f S"),
    "ELIXIR": ("defmodule A.B do\n  defp g(x) do\n  end\nend", "A.B .g"),
    "SHELL": ("f() {\n  g a\n}\nfunction g { echo; }\nx=$(h)", "f g"),
    "POWERSHELL": ("function Get-Plant {\n  param($x)\n}", "Get-Plant"),
    "SQL": (
        "create table if not exists garden.plants (id int);\n-- create view no\nselect 1;\n"
        'CREATE OR REPLACE VIEW "all plants" AS SELECT 1;',
        "garden.plants all_plants",
    ),
}


def outline(headings) -> str:
    return " ".join("." * (h.level - 1) + h.title.replace(" ", "_") for h in headings)


def test_definitions_are_headings_with_what_stands_above_them(write):
    document = read(write("watering.py", PYTHON))
    assert document.text == PYTHON
    assert document.metadata["format"] == "python"
    assert outline(document.headings) == "Room .water .dry stop"
    starts = [document.text[heading.start :].split("\n")[0] for heading in document.headings]
    assert starts[:2] == ["# The plants", "    def water("]


def test_every_language_has_its_definitions():
    assert DEFINITIONS.keys() | {"PYTHON"} == {form.name.upper() for form in CODE}
    for language, (code, expected) in DEFINITIONS.items():
        assert outline(Language[language].parse(code).headings) == expected, language


def test_code_in_any_script_is_text_as_written(write):
    code = "".join(f"# {sentence}\n" for sentence in SCRIPTS.values()) + "def πότισμα(): ...\n"
    document = read(write("a.py", code))
    assert (document.text, outline(document.headings)) == (code, "πότισμα")


def test_long_and_odd_code_takes_little_time():
    started = time.process_time()
    for piece in ("int f(a", "a*&", "f(\n", "class ", "public static void f(a,\n"):
        Language.CPP.parse(piece * (20_000 // len(piece)))
        Language.JAVASCRIPT.parse(piece * (20_000 // len(piece)))
    assert not Language.PYTHON.parse("def f(): ...\n" * 100_000).headings
    assert not Language.JAVA.parse("class A {}\n" + "t lengtn" * 20_000).headings
    assert time.process_time() - started < 5
