import BERT
import Datasets
import Reporting
import System
import Tokenization
import Training

// What a program needs of the modules below, under the names that it has there: one import is enough.

/// An error of the outside world in one line, with the status that the program ends with.
public typealias Failure = System.Failure
/// The statuses that the package's programs end with.
public typealias ExitStatus = System.ExitStatus

/// BERT's tokenizer, the same ids as transformers' `AutoTokenizer` gives for the same folder.
public typealias BertTokenizer = Tokenization.BertTokenizer
/// A text or a pair as token ids.
public typealias Encoding = Tokenization.Encoding

/// One row of a task: a sentence or two, and its label.
public typealias SentencePair = Datasets.SentencePair
/// The rows of a table.
public typealias SentencePairs = Datasets.SentencePairs
/// What a row is to be told to be: a class, a score, or unknown.
public typealias Label = Datasets.Label
/// All rows of a split as token ids.
public typealias TokenizedDataset = Datasets.TokenizedDataset
/// A task of the GLUE benchmark.
public typealias GLUETask = Datasets.GLUETask
/// `train`, `validation` or `test`.
public typealias Split = Datasets.Split
/// What happens to the rows of the last round that do not fill a batch on every rank.
public typealias TailPolicy = Datasets.TailPolicy

/// What becomes of a step whose loss or gradient is not a finite number.
public typealias NonFinitePolicy = Training.NonFinitePolicy

/// What stands on the encoder: an explicit forward and backward over slots.
public typealias TaskHead = BERT.TaskHead
/// A parameter of a head.
public typealias HeadParameter = BERT.HeadParameter
/// What a head's forward gets.
public typealias HeadForward = BERT.HeadForward
/// What a head's backward gets.
public typealias HeadBackward = BERT.HeadBackward
/// How a parameter starts, and whether weight decay may spare it.
public typealias ParameterKind = BERT.ParameterKind
/// Sizes and rates of a model, from its config.json.
public typealias BertConfiguration = BERT.BertConfiguration

/// What one optimizer step did.
public typealias StepReport = Reporting.StepReport

typealias Engine = TrainingEngine
typealias Weights = Training.Model
