// As much of JSON (RFC 8259) as a bundle's manifest needs: it is read, never written.
#pragma once

#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace json {

struct Value {
  enum class Kind { null, boolean, number, text, list, object } kind = Kind::null;
  bool truth = false;
  double number = 0;
  std::string text;
  std::vector<Value> list;
  std::map<std::string, Value> object;

  const Value &at(const std::string &name) const {
    const auto found = object.find(name);
    if (found == object.end()) throw std::runtime_error("there is no \"" + name + "\"");
    return found->second;
  }
};

class Reader {
 public:
  explicit Reader(const std::string &text) : text_(text) {}

  Value whole() {
    Value value = read(0);
    skip();
    if (place_ != text_.size()) fail("something follows the end");
    return value;
  }

 private:
  static constexpr int kDeepest = 64;  // a manifest has 7

  Value read(int depth) {
    if (depth > kDeepest) fail("it is nested too deep");
    skip();
    Value value;
    switch (peek()) {
      case '{':
        value.kind = Value::Kind::object;
        for (bool more = opened('}'); more; more = next('}')) {
          skip();
          std::string name = text();
          skip();
          expect(':');
          value.object[name] = read(depth + 1);
        }
        return value;
      case '[':
        value.kind = Value::Kind::list;
        for (bool more = opened(']'); more; more = next(']')) value.list.push_back(read(depth + 1));
        return value;
      case '"':
        value.kind = Value::Kind::text;
        value.text = text();
        return value;
      case 't':
      case 'f':
        value.kind = Value::Kind::boolean;
        value.truth = peek() == 't';
        word(value.truth ? "true" : "false");
        return value;
      case 'n':
        word("null");
        return value;
      default:
        value.kind = Value::Kind::number;
        value.number = digits();
        return value;
    }
  }

  // Behind an opening bracket: whether anything comes before the closing one.
  bool opened(char closing) {
    ++place_;
    skip();
    if (peek() != closing) return true;
    ++place_;
    return false;
  }

  // Behind an item: whether another one follows.
  bool next(char closing) {
    skip();
    const bool more = peek() == ',';
    if (!more && peek() != closing) fail("a comma or a bracket is missing");
    ++place_;
    return more;
  }

  std::string text() {
    expect('"');
    std::string found;
    while (peek() != '"') {
      char c = take();
      if (c != '\\') {
        found += c;
        continue;
      }
      switch (c = take()) {
        case 'n': found += '\n'; break;
        case 't': found += '\t'; break;
        case 'r': found += '\r'; break;
        case 'b': found += '\b'; break;
        case 'f': found += '\f'; break;
        case 'u':  // names of files and graphs are ASCII; others' letters only stand in notes
          place_ += 4;
          found += '?';
          break;
        default: found += c;
      }
    }
    ++place_;
    return found;
  }

  double digits() {
    const char *begin = text_.c_str() + place_;
    char *end = nullptr;
    const double value = std::strtod(begin, &end);
    if (end == begin) fail("a value is missing");
    place_ += static_cast<size_t>(end - begin);
    return value;
  }

  void word(const char *expected) {
    for (; *expected != '\0'; ++expected) expect(*expected);
  }

  void expect(char c) {
    if (take() != c) fail(std::string("a ") + c + " is missing");
  }

  void skip() {
    while (place_ < text_.size() && (text_[place_] == ' ' || text_[place_] == '\n' ||
                                     text_[place_] == '\t' || text_[place_] == '\r'))
      ++place_;
  }

  char peek() {
    if (place_ >= text_.size()) fail("it ends early");
    return text_[place_];
  }

  char take() {
    const char c = peek();
    ++place_;
    return c;
  }

  [[noreturn]] void fail(const std::string &why) const {
    throw std::runtime_error(why + ", at byte " + std::to_string(place_));
  }

  const std::string &text_;
  size_t place_ = 0;
};

inline Value parse(const std::string &text) { return Reader(text).whole(); }

}  // namespace json
