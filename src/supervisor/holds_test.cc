// SPDX-License-Identifier: Apache-2.0
#include "supervisor/holds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mvm::supervisor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using wire::RequestKind;

constexpr Holds::ClientId kMe = 1;
constexpr Holds::ClientId kOther = 2;

// A guest that does what it is told when the test says so.
class HoldsTest : public testing::Test {
 protected:
  void SetUp() override { begin(); }
  void begin() {
    holds_.begin({[this](backend::Machine::Done done) { take("pause", std::move(done)); },
                  [this](backend::Machine::Done done) { take("resume", std::move(done)); },
                  [this](backend::Machine::Done done) { take("save", std::move(done)); },
                  [this] { ++discarded_; }});
  }
  void take(const std::string& what, backend::Machine::Done done) {
    told_.push_back(what);
    open_.push_back(std::move(done));
  }
  // The guest has done the oldest of what it was told.
  void guest_answers(Result<> result = {}) {
    ASSERT_FALSE(open_.empty());
    const backend::Machine::Done done = std::move(open_.front());
    open_.erase(open_.begin());
    done(std::move(result));
  }
  void ask(Holds::ClientId client, RequestKind kind) { holds_.request(client, {kind}); }
  void pause_now() {
    ask(kMe, RequestKind::kPause);
    guest_answers();
    told_.clear();
    answers_.clear();
  }
  void save_now() {
    ask(kMe, RequestKind::kSave);
    while (!open_.empty()) guest_answers();
    told_.clear();
    answers_.clear();
  }

  std::vector<std::string> told_;
  int discarded_ = 0;
  std::vector<backend::Machine::Done> open_;
  std::vector<std::string> answers_;
  std::vector<bool> paused_;
  Holds holds_{{[this](Holds::ClientId client, const wire::Answer& answer) {
                  answers_.push_back(std::to_string(client) + ": " +
                                     (answer.failure ? answer.failure->text() : "done"));
                },
                [this](bool paused) { paused_.push_back(paused); }}};
};

TEST_F(HoldsTest, AnswersWhenTheGuestStandsStill) {
  ask(kMe, RequestKind::kPause);
  EXPECT_THAT(told_, ElementsAre("pause"));
  EXPECT_THAT(answers_, IsEmpty());
  guest_answers();
  EXPECT_THAT(answers_, ElementsAre("1: done"));
  EXPECT_THAT(paused_, ElementsAre(true));
}

TEST_F(HoldsTest, PausesAndResumesTwiceWithoutAskingTheGuestTwice) {
  pause_now();
  ask(kMe, RequestKind::kPause);
  EXPECT_THAT(told_, IsEmpty());
  ask(kMe, RequestKind::kResume);
  guest_answers();
  ask(kMe, RequestKind::kResume);
  EXPECT_THAT(told_, ElementsAre("resume"));
  EXPECT_THAT(answers_, ElementsAre("1: done", "1: done", "1: done"));
}

TEST_F(HoldsTest, DoesOneThingAfterTheOther) {
  ask(kMe, RequestKind::kPause);
  ask(kOther, RequestKind::kResume);
  EXPECT_THAT(told_, ElementsAre("pause"));
  guest_answers();
  EXPECT_THAT(told_, ElementsAre("pause", "resume"));
  guest_answers();
  EXPECT_THAT(answers_, ElementsAre("1: done", "2: done"));
  EXPECT_FALSE(holds_.paused());
}

TEST_F(HoldsTest, PassesOnWhatTheEngineSaysAndStaysAsItWas) {
  ask(kMe, RequestKind::kPause);
  guest_answers(Error(Errc::kIo, "no"));
  EXPECT_THAT(answers_, ElementsAre("1: no"));
  EXPECT_FALSE(holds_.paused());
  EXPECT_THAT(paused_, IsEmpty());
}

TEST_F(HoldsTest, HoldsTheGuestFromSaveToSaved) {
  ask(kMe, RequestKind::kSave);
  guest_answers();
  guest_answers();
  EXPECT_THAT(told_, ElementsAre("pause", "save"));
  EXPECT_THAT(answers_, ElementsAre("1: done"));
  ask(kMe, RequestKind::kSaved);
  EXPECT_THAT(told_.back(), "resume");
  guest_answers();
  EXPECT_THAT(answers_, ElementsAre("1: done", "1: done"));
  EXPECT_THAT(paused_, IsEmpty());
}

TEST_F(HoldsTest, LeavesAPausedGuestPausedAfterASave) {
  pause_now();
  save_now();
  ask(kMe, RequestKind::kSaved);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_THAT(answers_, ElementsAre("1: done"));
  EXPECT_TRUE(holds_.paused());
}

TEST_F(HoldsTest, LetsTheGuestGoOnWhenASaveFails) {
  ask(kMe, RequestKind::kSave);
  guest_answers();
  guest_answers(Error(Errc::kNoSpace, "disk full"));
  EXPECT_EQ(told_.back(), "resume");
  EXPECT_THAT(answers_, IsEmpty());
  guest_answers();
  EXPECT_EQ(discarded_, 1);
  EXPECT_THAT(answers_, ElementsAre("1: disk full"));
  ask(kOther, RequestKind::kPause);
  EXPECT_EQ(told_.back(), "pause");
}

TEST_F(HoldsTest, LetsNobodyElseMoveAGuestThatIsBeingSaved) {
  save_now();
  for (const RequestKind kind :
       {RequestKind::kPause, RequestKind::kResume, RequestKind::kSaved, RequestKind::kSave})
    ask(kOther, kind);
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_THAT(answers_, testing::Each("2: a snapshot of it is being made"));
}

TEST_F(HoldsTest, GoesOnWhenTheClientThatSavedHasGone) {
  save_now();
  holds_.client_gone(kMe);
  EXPECT_EQ(discarded_, 1);
  EXPECT_THAT(told_, ElementsAre("resume"));
  guest_answers();
  ask(kOther, RequestKind::kPause);
  EXPECT_EQ(told_.back(), "pause");
}

TEST_F(HoldsTest, GoesOnWhenTheClientGoesWhileItsSaveIsUnderWay) {
  ask(kMe, RequestKind::kSave);
  guest_answers();
  holds_.client_gone(kMe);
  EXPECT_THAT(told_, ElementsAre("pause", "save"));
  guest_answers();
  EXPECT_EQ(told_.back(), "resume");
}

TEST_F(HoldsTest, GoesOnWhenTheClientGoesBeforeItsGuestStandsStill) {
  ask(kMe, RequestKind::kSave);
  holds_.client_gone(kMe);
  guest_answers();
  guest_answers(Error(Errc::kIo, "no such directory"));
  EXPECT_EQ(told_.back(), "resume");
  guest_answers();
  ask(kOther, RequestKind::kResume);
  EXPECT_EQ(answers_.back(), "2: done");
}

TEST_F(HoldsTest, ForgetsWhatAClientThatHasGoneWaitedFor) {
  ask(kMe, RequestKind::kPause);
  ask(kOther, RequestKind::kResume);
  holds_.client_gone(kOther);
  guest_answers();
  EXPECT_THAT(told_, ElementsAre("pause"));
  EXPECT_TRUE(holds_.paused());
}

TEST_F(HoldsTest, AnswersEverybodyWhenTheGuestEnds) {
  ask(kMe, RequestKind::kPause);
  ask(kOther, RequestKind::kResume);
  holds_.end(Error(Errc::kNotFound, "it has ended"));
  guest_answers();  // of the guest that was
  EXPECT_THAT(answers_, ElementsAre("1: it has ended", "2: it has ended"));
  ask(kMe, RequestKind::kPause);
  EXPECT_EQ(answers_.back(), "1: it has ended");
  EXPECT_THAT(paused_, IsEmpty());
}

TEST_F(HoldsTest, RefusesASaveThatTheMachinesStopHasBroken) {
  save_now();
  holds_.end(Error(Errc::kNotFound, "it is being stopped"));
  ask(kMe, RequestKind::kSaved);
  EXPECT_THAT(answers_, ElementsAre("1: it is being stopped"));
}

TEST_F(HoldsTest, BeginsAnewWithTheGuestOfTheNextBoot) {
  pause_now();
  holds_.end(Error(Errc::kNotFound, "it has ended"));
  begin();
  ask(kMe, RequestKind::kPause);
  EXPECT_THAT(told_, ElementsAre("pause"));
}

TEST_F(HoldsTest, IsToldOfNoSaveThatWasNotBegun) {
  ask(kMe, RequestKind::kSaved);
  EXPECT_THAT(answers_, ElementsAre("1: the machine is not being saved"));
}

}  // namespace
}  // namespace mvm::supervisor
