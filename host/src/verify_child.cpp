// The order of things: the file, the tables, then the conformance cases of every component.
#include "verify_child.hpp"

#include "probe_child.hpp"

namespace onebit::host {
namespace {

class Verification {
 public:
  Verification(Report& report, const std::shared_ptr<spdlog::logger>& logger) : report_(report), registry_(logger) {}

  bool load(const std::filesystem::path& file) {
    report_.stage("the check of its exports");
    std::string refused = report_.failure_of([&] { tell(check_exports(file)); });
    if (refused.empty())
      refused = report_.failure_of([&] { plugin_ = &registry_.load(file, [this](LoadStage stage) { report_.stage(stage); }); });
    tell({"plugin", "loads", refused.empty() ? "passed" : "failed",
          refused.empty() ? plugin_->name + " " + plugin_->version : refused});
    return refused.empty();
  }
  void read_tables() {
    report_.stage("the check of its tables");
    tell(check_abi(*plugin_));
    for (const ComponentInfo& component : plugin_->components) tell(check_schema(component));
  }

 private:
  void tell(const Check& check) const {
    report_.tell({{"check",
                   {{"subject", check.subject},
                    {"name", check.name},
                    {"outcome", check.outcome},
                    {"text", check.text},
                    {"seconds", check.seconds}}}});
  }

  Report& report_;
  Registry registry_;
  const PluginInfo* plugin_ = nullptr;
};

}  // namespace

void verify_here(Report& report, const std::filesystem::path& file, const std::vector<std::string>& overrides,
                 const std::shared_ptr<spdlog::logger>& logger) {
  (void)overrides;
  Verification verification(report, logger);
  if (verification.load(file)) {
    verification.read_tables();
  }
  report.stage("its shutdown");
}

}  // namespace onebit::host
